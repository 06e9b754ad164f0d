// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <pcap/pcap.h>

#include "cleanup.h"
#include "decode_source.h"
#include "link.h"

#define TIMEOUT_MS 100 /* at most so long a packet waits in the kernel */

struct decode_source {
	pcap_t *pcap;
	const char *name;
	bool live, nanoseconds;
};

static void close_source(struct decode_source **source)
{
	decode_source_close(*source);
}

void decode_source_close(struct decode_source *source)
{
	if (!source)
		return;
	if (source->pcap)
		pcap_close(source->pcap);
	free(source);
}

static int open_file(struct decode_source *source, struct pg_error *error)
{
	size_t name = strlen(source->name);
	char why[PCAP_ERRBUF_SIZE];

	source->pcap = pcap_open_offline_with_tstamp_precision(source->name,
							       PCAP_TSTAMP_PRECISION_NANO, why);
	if (!source->pcap)
		return pg_error_set(error, -EIO, "open %s: %s", source->name,
				    !strncmp(why, source->name, name) && why[name] == ':'
					    ? why + name + 2
					    : why);
	return 0;
}

static int activate(struct decode_source *source, const struct decode_source_options *options,
		    struct pg_error *error)
{
	int rc;

	pcap_set_snaplen(source->pcap, options->snap_bytes);
	pcap_set_promisc(source->pcap, options->promiscuous);
	pcap_set_timeout(source->pcap, TIMEOUT_MS);
	pcap_set_tstamp_precision(source->pcap, PCAP_TSTAMP_PRECISION_NANO);
	rc = pcap_activate(source->pcap);
	if (rc >= 0)
		return 0;
	return pg_error_set(error, -EIO, "capture on %s: %s%s", source->name,
			    rc == PCAP_ERROR ? pcap_geterr(source->pcap) : pcap_statustostr(rc),
			    rc == PCAP_ERROR_PERM_DENIED ? "; it needs CAP_NET_RAW, run it as root"
							 : "");
}

static int open_interface(struct decode_source *source, const struct decode_source_options *options,
			  struct pg_error *error)
{
	char why[PCAP_ERRBUF_SIZE];

	source->pcap = pcap_create(source->name, why);
	if (!source->pcap)
		return pg_error_set(error, -EIO, "capture on %s: %s", source->name, why);
	source->live = true;
	return activate(source, options, error);
}

static int check_link(struct decode_source *source, struct pg_error *error)
{
	int number = pcap_datalink(source->pcap);
	const char *name = pcap_datalink_val_to_name(number);

	if (pg_link_known(number))
		return 0;
	return pg_error_set(error, -EPROTONOSUPPORT,
			    "%s: link type %d (%s) is not decoded; Ethernet, Linux cooked, raw IP "
			    "and loopback are",
			    source->name, number, name ? name : "unnamed");
}

static int set_filter(struct decode_source *source, const char *filter, struct pg_error *error)
{
	struct bpf_program program;
	int rc = 0;

	if (pcap_compile(source->pcap, &program, filter, 1, PCAP_NETMASK_UNKNOWN))
		return pg_error_set(error, -EINVAL, "filter \"%s\": %s", filter,
				    pcap_geterr(source->pcap));
	if (pcap_setfilter(source->pcap, &program))
		rc = pg_error_set(error, -EIO, "filter \"%s\": %s", filter,
				  pcap_geterr(source->pcap));
	pcap_freecode(&program);
	return rc;
}

int decode_source_open(const struct decode_source_options *options,
		       struct decode_source **ret_source, struct pg_error *error)
{
	PG_CLEANUP(close_source) struct decode_source *source = calloc(1, sizeof(*source));
	int rc;

	if (!source)
		return pg_error_set(error, -ENOMEM, "out of memory");
	source->name = options->file ? options->file : options->interface;
	rc = options->file ? open_file(source, error) : open_interface(source, options, error);
	if (!rc)
		rc = check_link(source, error);
	if (!rc && options->filter)
		rc = set_filter(source, options->filter, error);
	if (rc)
		return rc;
	source->nanoseconds = pcap_get_tstamp_precision(source->pcap) == PCAP_TSTAMP_PRECISION_NANO;
	*ret_source = TAKE_PTR(source);
	return 0;
}

int decode_source_next(struct decode_source *source, struct pg_capture *ret_capture,
		       struct pg_error *error)
{
	struct pcap_pkthdr *header;
	const u_char *bytes;
	int rc = pcap_next_ex(source->pcap, &header, &bytes);

	if (rc == PCAP_ERROR_BREAK)
		return -ENODATA;
	if (rc < 0)
		return pg_error_set(error, -EIO, "read %s: %s", source->name,
				    pcap_geterr(source->pcap));
	if (!rc)
		return 0;
	*ret_capture = (struct pg_capture){
		.bytes = bytes,
		.captured = header->caplen,
		.length = header->len,
		.time_ns = (uint64_t)header->ts.tv_sec * 1000000000 +
			   (uint64_t)header->ts.tv_usec * (source->nanoseconds ? 1 : 1000),
		.link = (enum pg_link)pcap_datalink(source->pcap),
	};
	return 1;
}

void decode_source_stop(struct decode_source *source)
{
	pcap_breakloop(source->pcap);
}

bool decode_source_counts(struct decode_source *source, uint32_t *ret_received, uint32_t *ret_lost)
{
	struct pcap_stat counts;

	if (!source->live || pcap_stats(source->pcap, &counts))
		return false;
	*ret_received = counts.ps_recv;
	*ret_lost = counts.ps_drop + counts.ps_ifdrop;
	return true;
}
