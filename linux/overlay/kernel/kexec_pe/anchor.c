// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The anchors: the functions that parsers name as their attach target. They
 * give the verifier the type of a parser's argument. Nobody calls them, and
 * nobody may attach to them what could sleep or change a result: an armed
 * parser is run directly (bpf.c).
 *
 * Forced to be C: BTF is made from C's debug information only.
 */

#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/init.h>

#include "kexec_pe.h"

__bpf_hook_start();

__used noinline void bpf_handle_pefile(struct kexec_context *context)
{
	asm volatile("" : : "r"(context) : "memory");
}

__used noinline void bpf_post_handle_pefile(struct kexec_context *context)
{
	asm volatile("" : : "r"(context) : "memory");
}

__bpf_hook_end();

BTF_ID_LIST_GLOBAL(kexec_pe_anchors, KEXEC_PE_PLACES)
BTF_ID(func, bpf_handle_pefile)
BTF_ID(func, bpf_post_handle_pefile)

/* What makes sleepable programs on the anchors legal. */
BTF_KFUNCS_START(kexec_pe_sleepable)
BTF_ID_FLAGS(func, bpf_handle_pefile, KF_SLEEPABLE)
BTF_ID_FLAGS(func, bpf_post_handle_pefile, KF_SLEEPABLE)
BTF_KFUNCS_END(kexec_pe_sleepable)

static int kexec_pe_anchor_filter(const struct bpf_prog *prog, u32 btf_id)
{
	if (!btf_id_set8_contains(&kexec_pe_sleepable, btf_id))
		return 0;
	return kexec_pe_thread() ? 0 : -EACCES;
}

static const struct btf_kfunc_id_set kexec_pe_anchor_set = {
	.owner = THIS_MODULE,
	.set = &kexec_pe_sleepable,
	.filter = kexec_pe_anchor_filter,
};

static int __init kexec_pe_anchor_init(void)
{
	return register_btf_fmodret_id_set(&kexec_pe_anchor_set);
}
late_initcall(kexec_pe_anchor_init);
