// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * kexec KERNEL COMMAND_LINE: loads another kernel, without an initial file system, and starts it. Without a C library,
 * so that nothing need be installed.
 */
#include <asm/unistd.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>

static long call(long number, long a, long b, long c, long d, long e)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	long result;

	asm volatile("syscall" : "=a"(result)
		     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
		     : "rcx", "r11", "memory");
	return result;
}

static long end(long result)
{
	return call(__NR_exit, result < 0 ? -result : 0, 0, 0, 0, 0);
}

__attribute__((used)) static void start(char **words)
{
	long kernel = call(__NR_open, (long)words[2], O_RDONLY, 0, 0, 0);
	char *line = words[3];
	long length = 0, result;

	while (line && line[length])
		length++;
	result = call(__NR_kexec_file_load, kernel, -1, length + 1, (long)line, KEXEC_FILE_NO_INITRAMFS);
	if (result == 0)
		result = call(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, 0, 0);
	end(result);
}

/* At the entry the stack has the number of words, then the words. */
asm(".globl _start\n_start: movq %rsp, %rdi\n andq $-16, %rsp\n call start\n hlt");
