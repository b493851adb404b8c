/* The least init there is: says INIT and waits for the end. Built with -static -nostdlib. */
static long call(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}

void _start(void)
{
	call(1 /* write */, 1, (long)"INIT\n", 5);
	for (;;)
		call(34 /* pause */, 0, 0, 0);
}
