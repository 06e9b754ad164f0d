// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "doctor.h"

#define KERNEL_MAJOR 6
#define KERNEL_MINOR 1
#define BPFFS	     "/sys/fs/bpf"
#define BTF	     "/sys/kernel/btf/vmlinux"
#define MEMLOCK_MIN  (64ul << 20) /* UMEM of two queues, with room */

static void check_kernel(struct findings *findings)
{
	int major = 0, minor = 0;
	struct utsname name;

	uname(&name);
	sscanf(name.release, "%d.%d", &major, &minor);
	if (major > KERNEL_MAJOR || (major == KERNEL_MAJOR && minor >= KERNEL_MINOR))
		finding_add(findings, VERDICT_OK, "kernel", "", "Linux %s", name.release);
	else
		finding_add(findings, VERDICT_FAIL, "kernel",
			    "install Linux 6.1 or newer (Debian 12 has it)",
			    "Linux %s is older than 6.1", name.release);
}

static void check_btf(struct findings *findings)
{
	if (!access(BTF, R_OK))
		finding_add(findings, VERDICT_OK, "BTF", "", "%s is readable", BTF);
	else
		finding_add(findings, VERDICT_FAIL, "BTF",
			    "run a kernel built with CONFIG_DEBUG_INFO_BTF=y", "%s: %s", BTF,
			    strerror(errno));
}

static void check_bpffs(struct findings *findings)
{
	struct statfs fs;

	if (!statfs(BPFFS, &fs) && fs.f_type == BPF_FS_MAGIC)
		finding_add(findings, VERDICT_OK, "bpffs", "", "mounted on %s", BPFFS);
	else
		finding_add(findings, VERDICT_FAIL, "bpffs", "mount -t bpf bpf " BPFFS,
			    "%s is not a BPF file system", BPFFS);
}

static void check_jit(struct findings *findings)
{
	PG_FCLOSE FILE *file = fopen("/proc/sys/net/core/bpf_jit_enable", "re");
	int on = -1;

	if (!file || fscanf(file, "%d", &on) != 1)
		return;
	if (on)
		finding_add(findings, VERDICT_OK, "BPF JIT", "", "on");
	else
		finding_add(findings, VERDICT_WARN, "BPF JIT",
			    "sysctl -w net.core.bpf_jit_enable=1", "off: the gate is interpreted");
}

static uint64_t effective_capabilities(void)
{
	PG_FCLOSE FILE *file = fopen("/proc/self/status", "re");
	uint64_t mask = 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "CapEff: %" SCNx64, &mask) == 1)
			break;
	return mask;
}

static bool has(uint64_t mask, unsigned int capability)
{
	return mask >> capability & 1;
}

static void check_capabilities(struct findings *findings, uint64_t mask)
{
	static const struct {
		unsigned int number;
		const char *name;
	} needed[] = {
		{ CAP_BPF, "CAP_BPF" },		  { CAP_NET_ADMIN, "CAP_NET_ADMIN" },
		{ CAP_NET_RAW, "CAP_NET_RAW" },	  { CAP_PERFMON, "CAP_PERFMON" },
		{ CAP_IPC_LOCK, "CAP_IPC_LOCK" },
	};
	char missing[128] = "";
	size_t i, used = 0;

	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!has(mask, needed[i].number))
			used += (size_t)snprintf(missing + used, sizeof(missing) - used, "%s%s",
						 used ? ", " : "", needed[i].name);
	if (!used)
		finding_add(findings, VERDICT_OK, "capabilities", "",
			    "this user has all that the agent needs");
	else
		finding_add(findings, VERDICT_FAIL, "capabilities",
			    "run doctor and the agent as root, or grant them in the systemd unit",
			    "this user lacks %s", missing);
}

/* Without them the agent runs, and sees less. */
static void check_sight(struct findings *findings, uint64_t mask)
{
	if (has(mask, CAP_SYS_ADMIN) && has(mask, CAP_SYS_PTRACE) && has(mask, CAP_DAC_READ_SEARCH))
		return;
	finding_add(findings, VERDICT_WARN, "sight",
		    "grant all three, or configure `tcp: { namespaces: [own] }`",
		    "without CAP_SYS_ADMIN, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH listeners of "
		    "other namespaces, or their owners, are not seen");
}

static void check_memlock(struct findings *findings, uint64_t mask)
{
	struct rlimit limit;

	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (has(mask, CAP_IPC_LOCK))
		finding_add(findings, VERDICT_OK, "memlock", "", "no limit applies (CAP_IPC_LOCK)");
	else if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= MEMLOCK_MIN)
		finding_add(findings, VERDICT_OK, "memlock", "", "%llu MiB",
			    (unsigned long long)limit.rlim_cur >> 20);
	else
		finding_add(findings, VERDICT_FAIL, "memlock",
			    "give the agent CAP_IPC_LOCK, or LimitMEMLOCK=infinity in its unit",
			    "%llu MiB is too little for the AF_XDP buffers",
			    (unsigned long long)limit.rlim_cur >> 20);
}

void doctor_host(struct findings *findings)
{
	uint64_t mask = effective_capabilities();

	check_kernel(findings);
	check_btf(findings);
	check_bpffs(findings);
	check_jit(findings);
	check_capabilities(findings, mask);
	check_sight(findings, mask);
	check_memlock(findings, mask);
}
