// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "cleanup.h"
#include "doctor.h"
#include "packgate/abi.h"

#define MTU_MAX 3506 /* native XDP without fragments: a page less head and tail room */

/* Drivers of Linux 6.1 with native XDP; zero: AF_XDP without a copy too. */
static const struct {
	const char *name;
	bool zero;
} drivers[] = {
	{ "i40e", true },	    { "ice", true },	       { "ixgbe", true },
	{ "igb", false },	    { "igc", true },	       { "ixgbevf", false },
	{ "mlx5_core", true },	    { "mlx4_en", false },      { "bnxt_en", false },
	{ "ena", false },	    { "virtio_net", false },   { "veth", false },
	{ "hv_netvsc", false },	    { "netvsc", false },       { "gve", false },
	{ "mana", false },	    { "nfp", true },	       { "qede", false },
	{ "sfc", false },	    { "stmmac", true },	       { "st_gmac", true },
	{ "mvneta", false },	    { "mvpp2", false },	       { "tsnep", true },
	{ "vmxnet3", false },	    { "xen-netfront", false }, { "vif", false },
	{ "thunder-nicvf", false }, { "fsl_dpaa2_eth", true }, { "fsl_dpa", false },
	{ "fsl_enetc", false },	    { "cpsw", false },	       { "tun", false },
	{ "aqc111", false },	    { "atlantic", false },     { "octeontx2", false },
};

struct probe {
	const char *name;
	int fd;
	struct findings *findings;
};

static int ethtool(const struct probe *probe, void *command)
{
	struct ifreq request = { .ifr_data = command };

	strncpy(request.ifr_name, probe->name, IFNAMSIZ - 1);
	return ioctl(probe->fd, SIOCETHTOOL, &request) ? -errno : 0;
}

static void add(const struct probe *probe, enum verdict verdict, const char *what,
		const char *advice, const char *text)
{
	char check[64];

	snprintf(check, sizeof(check), "%s %s", probe->name, what);
	finding_add(probe->findings, verdict, check, advice, "%s", text);
}

static void check_driver(const struct probe *probe)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	char text[128];
	size_t i;

	if (ethtool(probe, &info)) {
		add(probe, VERDICT_WARN, "driver", "expect generic mode or the UDP socket",
		    "the driver does not say its name");
		return;
	}
	for (i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		if (strcmp(drivers[i].name, info.driver))
			continue;
		snprintf(text, sizeof(text), "%s: native XDP is likely, AF_XDP %s", info.driver,
			 drivers[i].zero ? "without a copy" : "with one copy");
		add(probe, VERDICT_OK, "driver", "", text);
		return;
	}
	snprintf(text, sizeof(text), "%s is not known for native XDP", info.driver);
	add(probe, VERDICT_WARN, "driver",
	    "if attaching fails, set allow_generic: on or mode: socket, or use another NIC", text);
}

static void check_flags(const struct probe *probe)
{
	struct ethtool_value flags = { .cmd = ETHTOOL_GFLAGS };
	char advice[96];

	if (ethtool(probe, &flags))
		return;
	snprintf(advice, sizeof(advice), "ethtool -K %s rxvlan off, if tagged frames carry packets",
		 probe->name);
	if (flags.data & ETH_FLAG_RXVLAN)
		add(probe, VERDICT_WARN, "rx VLAN offload", advice,
		    "on: the NIC hides VLAN tags, the gate cannot tell VLANs apart");
	else
		add(probe, VERDICT_OK, "rx VLAN offload", "", "off");
	snprintf(advice, sizeof(advice), "ethtool -K %s lro off", probe->name);
	if (flags.data & ETH_FLAG_LRO)
		add(probe, VERDICT_FAIL, "LRO", advice, "on: XDP does not work with it");
	else
		add(probe, VERDICT_OK, "LRO", "", "off");
}

/* The number of a named feature bit, -1 if the kernel has none of that name. */
static int find_feature(const struct probe *probe, const char *name, unsigned int *ret_count)
{
	struct {
		struct ethtool_sset_info head;
		__u32 count;
	} set = { .head = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_FEATURES } };
	PG_FREE struct ethtool_gstrings *strings = NULL;
	unsigned int i;

	if (ethtool(probe, &set) || !set.head.sset_mask)
		return -1;
	*ret_count = set.count;
	strings = calloc(1, sizeof(*strings) + (size_t)set.count * ETH_GSTRING_LEN);
	if (!strings)
		return -1;
	strings->cmd = ETHTOOL_GSTRINGS;
	strings->string_set = ETH_SS_FEATURES;
	strings->len = set.count;
	if (ethtool(probe, strings))
		return -1;
	for (i = 0; i < set.count; i++)
		if (!strncmp((char *)strings->data + (size_t)i * ETH_GSTRING_LEN, name,
			     ETH_GSTRING_LEN))
			return (int)i;
	return -1;
}

static bool feature_active(const struct probe *probe, const char *name)
{
	PG_FREE struct ethtool_gfeatures *features = NULL;
	unsigned int count = 0, blocks;
	int bit = find_feature(probe, name, &count);

	if (bit < 0)
		return false;
	blocks = (count + 31) / 32;
	features = calloc(1, sizeof(*features) + blocks * sizeof(features->features[0]));
	if (!features)
		return false;
	features->cmd = ETHTOOL_GFEATURES;
	features->size = blocks;
	return !ethtool(probe, features) && (features->features[bit / 32].active >> (bit % 32) & 1);
}

static void check_hardware_gro(const struct probe *probe)
{
	char advice[64];

	snprintf(advice, sizeof(advice), "ethtool -K %s rx-gro-hw off", probe->name);
	if (feature_active(probe, "rx-gro-hw"))
		add(probe, VERDICT_FAIL, "hardware GRO", advice,
		    "on: the NIC merges frames before XDP sees them");
	else
		add(probe, VERDICT_OK, "hardware GRO", "", "off");
}

static void check_mtu(const struct probe *probe)
{
	struct ifreq request = { 0 };
	char text[96], advice[64];

	strncpy(request.ifr_name, probe->name, IFNAMSIZ - 1);
	if (ioctl(probe->fd, SIOCGIFMTU, &request))
		return;
	snprintf(text, sizeof(text), "%d bytes", request.ifr_mtu);
	snprintf(advice, sizeof(advice), "ip link set %s mtu %d, or less", probe->name, MTU_MAX);
	if (request.ifr_mtu <= MTU_MAX)
		add(probe, VERDICT_OK, "MTU", "", text);
	else
		add(probe, VERDICT_FAIL, "MTU", advice,
		    "above 3506 bytes: native XDP needs programs with fragments");
}

static unsigned int rss_rings(const struct probe *probe)
{
	struct ethtool_rxnfc rings = { .cmd = ETHTOOL_GRXRINGS };

	return ethtool(probe, &rings) ? 0 : (unsigned int)rings.data;
}

static void check_queues(const struct probe *probe)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	unsigned int rings = rss_rings(probe), queues;
	char text[128], advice[96];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	queues = ethtool(probe, &channels) ? 0 : channels.combined_count + channels.rx_count;
	if (!queues)
		queues = rings ? rings : 1;
	snprintf(text, sizeof(text), "%u RX queues, %u in use by RSS, %ld CPUs", queues,
		 rings ? rings : queues, cpus);
	snprintf(advice, sizeof(advice), "ethtool -L %s combined %ld", probe->name,
		 cpus < PG_QUEUES_MAX ? cpus : PG_QUEUES_MAX);
	if (queues > PG_QUEUES_MAX)
		add(probe, VERDICT_FAIL, "queues", advice, text);
	else if ((rings && rings != queues) || (long)queues > cpus)
		add(probe, VERDICT_WARN, "queues", advice, text);
	else
		add(probe, VERDICT_OK, "queues", "", text);
}

static void check_program(const struct probe *probe, int index)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	struct bpf_prog_info info = { 0 };
	__u32 bytes = sizeof(info);
	char text[96];

	if (bpf_xdp_query(index, 0, &query))
		return;
	if (!query.prog_id && !query.drv_prog_id && !query.skb_prog_id && !query.hw_prog_id) {
		add(probe, VERDICT_OK, "XDP program", "", "none is attached");
		return;
	}
	{
		PG_CLOSE int fd = bpf_prog_get_fd_by_id(query.prog_id);

		if (fd >= 0)
			bpf_obj_get_info_by_fd(fd, &info, &bytes);
	}
	snprintf(text, sizeof(text), "%s, id %u, is attached", info.name[0] ? info.name : "one",
		 query.prog_id);
	if (!info.name[0])
		add(probe, VERDICT_WARN, "XDP program",
		    "run doctor as root: without CAP_SYS_ADMIN its name cannot be read", text);
	else if (!strcmp(info.name, "pg_gate"))
		add(probe, VERDICT_OK, "XDP program", "", text);
	else
		add(probe, VERDICT_FAIL, "XDP program",
		    "packgate does not replace it: detach it first (`bpftool net`, `ip link set "
		    "... xdp off`)",
		    text);
}

void doctor_interface(struct findings *findings, const char *name)
{
	PG_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct probe probe = { name, fd, findings };
	struct ifreq request = { 0 };

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (strlen(name) >= IFNAMSIZ || ioctl(fd, SIOCGIFINDEX, &request)) {
		add(&probe, VERDICT_FAIL, "interface", "see `ip link` for the names",
		    "no such interface in this network namespace");
		return;
	}
	check_program(&probe, request.ifr_ifindex);
	if (!ioctl(fd, SIOCGIFFLAGS, &request) && !(request.ifr_flags & IFF_UP))
		add(&probe, VERDICT_WARN, "link", "ip link set it up", "the interface is down");
	check_driver(&probe);
	check_flags(&probe);
	check_hardware_gro(&probe);
	check_mtu(&probe);
	check_queues(&probe);
}
