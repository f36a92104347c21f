// SPDX-License-Identifier: GPL-2.0
/*
 * Ends the kernel in a way that nothing else of this system can: `insmod quoin_end.ko how=WORD`.
 *
 *   triple  an exception without a table to handle it
 *   jump    to where nothing is
 *   vc      an instruction that raises #VC, and that the kernel's handler does not know
 *   lockup  a processor that no longer schedules
 */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/string.h>
#include <asm/desc.h>

static char *how = "";
module_param(how, charp, 0);

static int __init quoin_end_init(void)
{
	static const struct desc_ptr none;

	if (!strcmp(how, "triple")) {
		native_load_idt(&none);
		asm volatile("ud2");
	} else if (!strcmp(how, "jump")) {
		((void (*)(void))0x10)();
	} else if (!strcmp(how, "vc")) {
		/* The HPET, by an instruction that the handler does not decode. */
		void __iomem *device = ioremap(0xfed00000, PAGE_SIZE);

		asm volatile("lock addl $0, (%0)" : : "r"(device) : "memory");
	} else if (!strcmp(how, "lockup")) {
		preempt_disable();
		for (;;)
			cpu_relax();
	}
	return -EINVAL;
}
module_init(quoin_end_init);

MODULE_DESCRIPTION("Ends the kernel");
MODULE_LICENSE("GPL");
