// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The loader thread. Parsers are loaded and run in a kernel thread of their
 * own: its descriptors are nobody else's, its credentials are init's, so that a
 * caller needs no right but kexec's, and the memory it takes is the caller's
 * memory cgroup's.
 *
 * Forced to be C: macros (kthread_run, completions), inline functions, and
 * struct kimage, which has no Rust bindings.
 */

#include <linux/completion.h>
#include <linux/err.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/kexec.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "kexec_pe.h"

struct kexec_pe_job {
	struct kexec_pe_load load;
	struct mem_cgroup *memcg;
	struct completion done;
	int result;
	/* What /proc/self/fail-nth has yet to count, in a debugging kernel. */
	unsigned int faults;
};

/* The thread of the load at work; kexec's lock lets only one load work. */
static struct task_struct *loader;

bool kexec_pe_thread(void)
{
	return unlikely(current == READ_ONCE(loader));
}

/* Whether the caller was killed; a place to let others run, too. */
bool kexec_pe_cancelled(void)
{
	cond_resched();
	return fatal_signal_pending(current);
}

#if defined(CONFIG_KEXEC_PE_DEBUG) && defined(CONFIG_FAULT_INJECTION)
static unsigned int take_faults(void)
{
	unsigned int faults = READ_ONCE(current->fail_nth);

	WRITE_ONCE(current->fail_nth, 0);
	return faults;
}

static void give_faults(unsigned int faults)
{
	WRITE_ONCE(current->fail_nth, faults);
}
#else
static unsigned int take_faults(void)
{
	return 0;
}

static void give_faults(unsigned int faults)
{
}
#endif

static int kexec_pe_work(struct kexec_pe_job *job)
{
	struct mem_cgroup *old;
	struct mm_struct *mm;
	int ret;

	/* Kernel threads share one table: take a copy and empty it. */
	ret = unshare_files();
	if (ret)
		return kexec_pe_rs_not_started(ret);
	kexec_pe_close_all();

	old = set_active_memcg(job->memcg);
	/*
	 * Without memory of its own a kernel thread runs on the page tables of
	 * whoever ran before, and bpf_copy_from_user() would read there.
	 */
	mm = mm_alloc();
	if (mm) {
		kthread_use_mm(mm);
		ret = kexec_pe_rs_unfold(&job->load);
		kthread_unuse_mm(mm);
		mmput(mm);
	} else {
		ret = kexec_pe_rs_not_started(-ENOMEM);
	}
	set_active_memcg(old);
	return ret;
}

static int kexec_pe_threadfn(void *data)
{
	struct kexec_pe_job *job = data;

	/* Only the kernel itself may stop the thread. */
	allow_kernel_signal(SIGKILL);
	give_faults(job->faults);
	job->result = kexec_pe_work(job);
	job->faults = take_faults();
	complete(&job->done);
	return 0;
}

/* Runs the job in a thread and waits for it to be gone. */
static int kexec_pe_run(struct kexec_pe_job *job)
{
	struct task_struct *task;

	init_completion(&job->done);
	task = kthread_create(kexec_pe_threadfn, job, "kexec_pe");
	if (IS_ERR(task))
		return kexec_pe_rs_not_started(PTR_ERR(task));

	/* One count for the whole load, whichever task is at work. */
	job->faults = take_faults();
	get_task_struct(task);
	WRITE_ONCE(loader, task);
	wake_up_process(task);
	if (wait_for_completion_killable(&job->done)) {
		/* Buffers are in use until the thread is through. */
		send_sig(SIGKILL, task, 1);
		wait_for_completion(&job->done);
	}
	kthread_stop_put(task);
	WRITE_ONCE(loader, NULL);
	give_faults(job->faults);
	return job->result;
}

bool kexec_pe_claims(const struct kimage *image)
{
	return kexec_pe_rs_claims(image->kernel_buf, image->kernel_buf_len);
}

int kexec_pe_unfold(struct kimage *image, bool enforced, int signature)
{
	struct kexec_pe_job job = {
		.load = {
			.kernel = image->kernel_buf,
			.kernel_len = image->kernel_buf_len,
			.initrd = image->initrd_buf,
			.initrd_len = image->initrd_buf_len,
			.cmdline = image->cmdline_buf,
			.cmdline_len = image->cmdline_buf_len,
			.crash = image->type == KEXEC_TYPE_CRASH,
			.enforced = enforced,
			.signature = signature,
		},
		.memcg = get_mem_cgroup_from_mm(current->mm),
	};
	int ret;

	ret = kexec_pe_run(&job);
	mem_cgroup_put(job.memcg);
	if (ret)
		return ret;

	image->kernel_buf = job.load.kernel;
	image->kernel_buf_len = job.load.kernel_len;
	image->initrd_buf = job.load.initrd;
	image->initrd_buf_len = job.load.initrd_len;
	image->cmdline_buf = job.load.cmdline;
	image->cmdline_buf_len = job.load.cmdline_len;
	return 0;
}

/* Whether one of the architecture's loaders takes the kernel. */
bool kexec_pe_probe(const void *kernel, unsigned long len)
{
	const struct kexec_file_ops * const *fops;

	for (fops = &kexec_file_loaders[0]; *fops && (*fops)->probe; ++fops)
		if (!(*fops)->probe(kernel, len))
			return true;
	return false;
}
