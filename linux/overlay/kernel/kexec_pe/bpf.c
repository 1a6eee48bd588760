// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bpf(2) from inside, and running the armed program.
 *
 * Forced to be C: union bpf_attr, struct bpf_prog and its bit fields, the
 * inline functions that run a program, and the macros of the fd table have no
 * Rust bindings.
 */

#include <linux/bpf.h>
#include <linux/btf_ids.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/filter.h>
#include <linux/security.h>

#include "kexec_pe.h"

/* As declared, for its other callers, in tools/lib/bpf/skel_internal.h. */
int kern_sys_bpf(int cmd, union bpf_attr *attr, unsigned int size);

/* A loader's data, as its only map. Returns a descriptor. */
int kexec_pe_create_map(const void *data, u32 size)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = sizeof(u32),
		.value_size = size,
		.max_entries = 1,
		.map_name = "__loader.map",
	};
	u32 key = 0;
	int fd, err;

	fd = kern_sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
	if (fd < 0)
		return fd;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = fd;
	attr.key = (unsigned long)&key;
	attr.value = (unsigned long)data;
	err = kern_sys_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
	return err < 0 ? err : fd;
}

/* A loader's program. Returns a descriptor. */
int kexec_pe_load_prog(int map_fd, const void *insns, u32 count)
{
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SYSCALL,
		.insns = (unsigned long)insns,
		.insn_cnt = count,
		.license = (unsigned long)"Dual BSD/GPL",
		.prog_flags = BPF_F_SLEEPABLE,
		.prog_name = "__loader.prog",
		.fd_array = (unsigned long)&map_fd,
	};

	return kern_sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

/* Runs a loader over its context; @result is what it returned. */
int kexec_pe_run_loader(int prog_fd, void *context, u32 size, int *result)
{
	union bpf_attr attr = {
		.test.prog_fd = prog_fd,
		.test.ctx_in = (unsigned long)context,
		.test.ctx_size_in = size,
	};
	int err;

	err = kern_sys_bpf(BPF_PROG_RUN, &attr, sizeof(attr));
	*result = attr.test.retval;
	return err;
}

/* Closes every descriptor of the thread; what programs hold stays. */
void kexec_pe_close_all(void)
{
	__close_range(0, ~0U, 0);
	/* A kernel thread's last fput() is left to a work item. */
	flush_delayed_fput();
}

/*
 * The next program for an anchor among the thread's descriptors from *@fd on,
 * with a reference; NULL after the last.
 */
struct bpf_prog *kexec_pe_next_prog(u32 *fd, u32 *place)
{
	struct bpf_prog *prog;
	u32 end;

	rcu_read_lock();
	end = files_fdtable(current->files)->max_fds;
	rcu_read_unlock();

	for (; *fd < end; ++*fd) {
		prog = bpf_prog_get(*fd);
		if (IS_ERR(prog))
			continue;
		for (*place = 0; *place < KEXEC_PE_PLACES; ++*place) {
			if (prog->type == BPF_PROG_TYPE_TRACING &&
			    prog->aux->attach_btf_id == kexec_pe_anchors[*place]) {
				++*fd;
				return prog;
			}
		}
		bpf_prog_put(prog);
	}
	return NULL;
}

/*
 * The verifier examines global functions apart from their callers. A chain of
 * them can run for ages though it was quickly verified.
 */
bool kexec_pe_has_global_functions(const struct bpf_prog *prog)
{
	u32 i;

	for (i = 1; i < prog->aux->func_info_cnt; i++)
		if (prog->aux->func_info_aux[i].linkage == BTF_FUNC_GLOBAL)
			return true;
	return false;
}

/* Where the data of a program's map are; false after the last map. */
bool kexec_pe_map_range(const struct bpf_prog *prog, u32 index, void **data,
			u64 *size)
{
	const struct bpf_map *map;

	if (index >= prog->aux->used_map_cnt)
		return false;
	map = prog->aux->used_maps[index];
	*data = NULL;
	*size = 0;
	if (map->ops->map_data_range)
		map->ops->map_data_range(map, data, size);
	return true;
}

/*
 * Runs a program as the trampoline of its anchor would. Before the argument
 * stand, as there, the attached function's address and the number of arguments.
 */
int kexec_pe_run_prog(struct bpf_prog *prog, struct kexec_context *context)
{
	u64 args[] = {
		(unsigned long)bpf_handle_pefile, 1, (unsigned long)context
	};
	struct bpf_tramp_run_ctx run_ctx = {};
	int ret = -EBUSY;
	u64 start;

	start = __bpf_prog_enter_sleepable_recur(prog, &run_ctx);
	if (start)
		ret = bpf_prog_run(prog, &args[2]);
	__bpf_prog_exit_sleepable_recur(prog, start, &run_ctx);
	return ret;
}

/* Whether lockdown forbids programs to read kernel memory at will. */
bool kexec_pe_reads_locked(void)
{
	return security_locked_down(LOCKDOWN_BPF_READ_KERNEL) < 0;
}

int kexec_pe_check_bpf(enum bpf_cmd cmd, const union bpf_attr *attr)
{
	struct kexec_pe_ask ask = { .cmd = cmd };

	if (!kexec_pe_thread())
		return 0;

	if (cmd == BPF_MAP_CREATE) {
		ask.map_type = attr->map_type;
		ask.value_size = attr->value_size;
		ask.max_entries = attr->max_entries;
		ask.others = attr->inner_map_fd | attr->map_ifindex |
			     attr->btf_vmlinux_value_type_id |
			     attr->value_type_btf_obj_fd | attr->map_token_fd |
			     !!attr->map_extra;
	} else if (cmd == BPF_PROG_LOAD) {
		ask.prog_type = attr->prog_type;
		ask.attach_type = attr->expected_attach_type;
		ask.attach_btf_id = attr->attach_btf_id;
		ask.prog_flags = attr->prog_flags;
		ask.insns = (const u64 *)(unsigned long)attr->insns;
		ask.insn_cnt = attr->insn_cnt;
		ask.others = attr->attach_prog_fd | attr->prog_ifindex |
			     attr->prog_token_fd;
	}
	return kexec_pe_rs_check_bpf(&ask);
}
