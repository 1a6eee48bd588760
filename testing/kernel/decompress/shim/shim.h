/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * As much of the kernel's headers as its decompressors need to run in user
 * space, under the sanitizers. What they allocate is counted, so that a leak
 * is seen, and bounded, so that a size nobody checked is.
 */
#ifndef KPEEL_SHIM_H
#define KPEEL_SHIM_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <linux/errno.h>

/* The C library defines both, the kernel the machine's. */
#undef __BIG_ENDIAN

#define CONFIG_KEEP_DECOMPRESSOR 1
#define CONFIG_64BIT 1
#define CONFIG_X86_64 1
#define CONFIG_DECOMPRESS_GZIP 1
#define CONFIG_DECOMPRESS_BZIP2 1
#define CONFIG_DECOMPRESS_LZMA 1
#define CONFIG_DECOMPRESS_XZ 1
#define CONFIG_DECOMPRESS_LZO 1
#define CONFIG_DECOMPRESS_LZ4 1
#define CONFIG_DECOMPRESS_ZSTD 1
#define CONFIG_XZ_DEC_X86 1
#define CONFIG_XZ_DEC_ARM64 1

typedef uint8_t u8, __u8;
typedef uint16_t u16, __u16, __le16, __be16;
typedef uint32_t u32, __u32, __le32, __be32;
typedef uint64_t u64, __u64, __le64, __be64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned int gfp_t;

#define __init
#define __initconst
#define __force
#define __packed __attribute__((packed))
#define __maybe_unused __attribute__((unused))
#define __always_inline inline __attribute__((always_inline))
#define noinline __attribute__((noinline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define fallthrough __attribute__((fallthrough))
#define prefetch(x) __builtin_prefetch(x)
#define barrier() __asm__ volatile("" ::: "memory")
#define EXPORT_SYMBOL(x) struct shim_unused
#define EXPORT_SYMBOL_GPL(x) struct shim_unused
#define MODULE_LICENSE(x) struct shim_unused
#define MODULE_DESCRIPTION(x) struct shim_unused
#define MODULE_AUTHOR(x) struct shim_unused
#define MODULE_VERSION(x) struct shim_unused
#define BUILD_BUG_ON(x) _Static_assert(!(x), #x)
#define WARN_ON(x) shim_warn_on(!!(x), #x)
#define pr_debug(...) do { if (0) printf(__VA_ARGS__); } while (0)
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define min_t(t, a, b) min((t)(a), (t)(b))
#define max_t(t, a, b) max((t)(a), (t)(b))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define IS_ENABLED(x) 0
#define PTR_ALIGN(p, a) ((__typeof__(p))(((uintptr_t)(p) + (a) - 1) & ~((uintptr_t)(a) - 1)))
#define div_u64(a, b) ((a) / (b))
#define swab32 __builtin_bswap32
#define swab64 __builtin_bswap64
#define le32_to_cpup(p) get_unaligned_le32(p)
#define cpu_to_le32(x) (x)
#define le32_to_cpu(x) (x)
#define le16_to_cpu(x) (x)
#define le64_to_cpu(x) (x)

static inline int shim_warn_on(int on, const char *what)
{
	if (on) {
		fprintf(stderr, "WARN_ON(%s)\n", what);
		abort();
	}
	return on;
}

#define SHIM_GET(name, type, convert)					\
	static inline type get_unaligned_##name(const void *p)		\
	{								\
		type v;							\
									\
		memcpy(&v, p, sizeof(v));				\
		return convert(v);					\
	}
SHIM_GET(le16, u16, )
SHIM_GET(le32, u32, )
SHIM_GET(le64, u64, )
SHIM_GET(be16, u16, __builtin_bswap16)
SHIM_GET(be32, u32, __builtin_bswap32)
SHIM_GET(be64, u64, __builtin_bswap64)
#define get_unaligned(p) ({						\
	__typeof__(*(p)) shim_v;					\
	memcpy(&shim_v, (p), sizeof(shim_v));				\
	shim_v; })
#define put_unaligned(v, p) ({						\
	__typeof__(*(p)) shim_v = (v);					\
	memcpy((p), &shim_v, sizeof(shim_v)); })
static inline void put_unaligned_le16(u16 v, void *p) { memcpy(p, &v, 2); }
static inline void put_unaligned_le32(u32 v, void *p) { memcpy(p, &v, 4); }
static inline void put_unaligned_le64(u64 v, void *p) { memcpy(p, &v, 8); }
static inline void put_unaligned_be32(u32 v, void *p)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
}

/* Memory: every kind of it is the C library's, counted. */
#define GFP_KERNEL 0
#define GFP_KERNEL_ACCOUNT 1
#define VM_MAP 1
#define VM_MAP_PUT_PAGES 2
#define PAGE_KERNEL 0
#define PAGE_SIZE 4096UL
#define PAGE_SHIFT 12

void *shim_alloc(size_t size, gfp_t gfp);
void *shim_realloc(void *old, size_t size);
void shim_free(const void *p);

#define kmalloc(size, gfp) shim_alloc(size, gfp)
#define kvmalloc(size, gfp) shim_alloc(size, gfp)
#define vmalloc(size) shim_alloc(size, GFP_KERNEL)
#define __vmalloc(size, gfp) shim_alloc(size, gfp)
#define kvrealloc(p, size, gfp) shim_realloc(p, size)
#define kfree(p) shim_free(p)
#define kvfree(p) shim_free(p)
#define vfree(p) shim_free(p)

struct page {
	unsigned char bytes[PAGE_SIZE];
};

static inline struct page *alloc_page(gfp_t gfp)
{
	return shim_alloc(sizeof(struct page), gfp);
}

static inline void __free_page(struct page *page)
{
	shim_free(page);
}

static inline void memcpy_to_page(struct page *page, size_t at,
				  const char *from, size_t len)
{
	memcpy(page->bytes + at, from, len);
}

void *vmap(struct page **pages, unsigned int count, unsigned long flags, int prot);

#define cond_resched() do { } while (0)

u32 crc32_le(u32 crc, const unsigned char *p, size_t len);

#endif
