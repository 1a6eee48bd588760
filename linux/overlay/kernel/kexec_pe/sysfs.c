// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * /sys/kernel/kexec_pe: tells user space that this kernel opens PE boot images
 * with parsers, and what it can do.
 *
 * Forced to be C: attribute groups are made by macros and static initialisers.
 */

#include <linux/decompress/kexec_pe.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/sysfs.h>

#include "kexec_pe.h"

/* The version of the contract with parsers. */
static ssize_t abi_version_show(struct kobject *kobj,
				struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", kexec_pe_rs_version());
}

static struct kobj_attribute abi_version_attr = __ATTR_RO(abi_version);

/* What bpf_decompress() knows, by name, separated by spaces. */
static ssize_t codecs_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	return sysfs_emit(buf, "%s\n", kexec_pe_codecs());
}

static struct kobj_attribute codecs_attr = __ATTR_RO(codecs);

/* Most envelopes opened one inside the other. */
static ssize_t depth_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%u\n", kexec_pe_rs_depth());
}

static struct kobj_attribute depth_attr = __ATTR_RO(depth);

static struct attribute *kexec_pe_attrs[] = {
	&abi_version_attr.attr,
	&codecs_attr.attr,
	&depth_attr.attr,
	NULL
};

static const struct attribute_group kexec_pe_group = {
	.attrs = kexec_pe_attrs,
};

static int __init kexec_pe_sysfs_init(void)
{
	struct kobject *kobj;
	int err;

	kobj = kobject_create_and_add("kexec_pe", kernel_kobj);
	if (!kobj)
		return -ENOMEM;

	err = sysfs_create_group(kobj, &kexec_pe_group);
	if (err)
		kobject_put(kobj);
	return err;
}
late_initcall(kexec_pe_sysfs_init);
