// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * An image as its parser sees it: the same memory, but for the first bytes,
 * where some must read as zero.
 *
 * Forced to be C: inline functions and macros of the memory management have no
 * Rust bindings.
 */

#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "kexec_pe.h"

/* One page of a view, with a reference. */
static struct page *kexec_pe_view_page(const void *from, bool copied)
{
	struct page *page;

	if (copied) {
		page = alloc_page(GFP_KERNEL_ACCOUNT);
		if (page)
			memcpy(page_address(page), from, PAGE_SIZE);
	} else {
		page = vmalloc_to_page(from);
		get_page(page);
	}
	return page;
}

/*
 * Maps @len bytes of vmalloc memory a second time. What the first @head bytes
 * say is a copy, which may be changed.
 */
void *kexec_pe_view(const void *image, unsigned long len, unsigned long head)
{
	unsigned long offset = offset_in_page(image);
	unsigned long copied = PFN_UP(offset + head);
	unsigned long count = PFN_UP(offset + len);
	const void *from = image - offset;
	struct page **pages;
	unsigned long i;
	void *view;

	pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		return NULL;
	for (i = 0; i < count; i++, from += PAGE_SIZE) {
		pages[i] = kexec_pe_view_page(from, i < copied);
		if (!pages[i])
			goto release;
	}
	view = vmap(pages, count, VM_MAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
	if (view)
		return view + offset;
release:
	while (i)
		put_page(pages[--i]);
	kvfree(pages);
	return NULL;
}

void kexec_pe_drop_view(const void *view)
{
	vfree(view - offset_in_page(view));
}
