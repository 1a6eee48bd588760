/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The border between the C and the Rust part of kexec_pe. Rust decides; C is
 * what BTF, macros, bit fields and static initialisers force.
 *
 * Names in kexec_pe_rs_ are Rust's, described where they are defined.
 */
#ifndef _KERNEL_KEXEC_PE_H
#define _KERNEL_KEXEC_PE_H

#include <crypto/sha2.h>
#include <linux/kexec_pe.h>

struct bpf_prog;

/*
 * What a parser gets. Frozen: fields are only ever appended. Mirrored by
 * abi::Context.
 */
struct kexec_context {
	bool kdump;
	char *image;
	int image_sz;
	char *initrd;
	int initrd_sz;
	char *cmdline;
	int cmdline_sz;
};

/* What bpf_decompress() gives. Mirrored by abi::MemRangeResult. */
struct mem_range_result {
	char *buf;
	u32 buf_sz;
	u32 data_sz;
};

/* The anchors; a program's place is the index in kexec_pe_anchors. */
enum kexec_pe_place {
	KEXEC_PE_HANDLE,
	KEXEC_PE_POST,
	KEXEC_PE_PLACES,
};

void bpf_handle_pefile(struct kexec_context *context);
void bpf_post_handle_pefile(struct kexec_context *context);

/* BTF ids of the anchors, in the order of enum kexec_pe_place. */
extern u32 kexec_pe_anchors[];

/* One load: the buffers of a kimage, replaced if unfolding succeeds. */
struct kexec_pe_load {
	void *kernel;
	unsigned long kernel_len;
	void *initrd;
	unsigned long initrd_len;
	char *cmdline;
	unsigned long cmdline_len;
	bool crash;
	bool enforced;
	int signature;
};

/* A command of bpf(2), as far as it matters whether a loader may issue it. */
struct kexec_pe_ask {
	u32 cmd;
	u32 map_type;
	u32 value_size;
	u32 max_entries;
	u32 prog_type;
	u32 attach_type;
	u32 attach_btf_id;
	u32 prog_flags;
	u32 insn_cnt;
	/* Not 0 if a field is set that no loader needs. */
	u32 others;
	const u64 *insns;
};

/* thread.c */
bool kexec_pe_cancelled(void);
bool kexec_pe_probe(const void *kernel, unsigned long len);

/* bpf.c */
int kexec_pe_create_map(const void *data, u32 size);
int kexec_pe_load_prog(int map_fd, const void *insns, u32 count);
int kexec_pe_run_loader(int prog_fd, void *context, u32 size, int *result);
void kexec_pe_close_all(void);
struct bpf_prog *kexec_pe_next_prog(u32 *fd, u32 *place);
bool kexec_pe_has_global_functions(const struct bpf_prog *prog);
bool kexec_pe_map_range(const struct bpf_prog *prog, u32 index, void **data,
			u64 *size);
int kexec_pe_run_prog(struct bpf_prog *prog, struct kexec_context *context);
bool kexec_pe_reads_locked(void);

/* view.c */
void *kexec_pe_view(const void *image, unsigned long len, unsigned long head);
void kexec_pe_drop_view(const void *view);

/* kfunc.c */
bool kexec_pe_is_kfunc(u32 btf_id);

/* debug.c */
void kexec_pe_debug_begin(void);
void kexec_pe_debug_write(const char *more, unsigned long len);
void kexec_pe_debug_end(void);
void kexec_pe_debug_sha256(const void *data, unsigned long len,
			   u8 digest[SHA256_DIGEST_SIZE]);

/* Rust */
bool kexec_pe_rs_claims(const void *image, unsigned long len);
int kexec_pe_rs_unfold(struct kexec_pe_load *load);
int kexec_pe_rs_not_started(int error);
int kexec_pe_rs_check_bpf(const struct kexec_pe_ask *ask);
int kexec_pe_rs_copy_to_kernel(const char *name, const char *buf, int size);
struct mem_range_result *kexec_pe_rs_decompress(const char *buf, int size);
int kexec_pe_rs_put(struct mem_range_result *result);
int kexec_pe_rs_read(void *dst, u32 size, const char *src);
int kexec_pe_rs_verdict(u32 code, const char *field, u64 found, u64 needed);
u32 kexec_pe_rs_version(void);
u32 kexec_pe_rs_depth(void);

#endif /* _KERNEL_KEXEC_PE_H */
