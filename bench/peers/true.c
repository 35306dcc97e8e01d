/* The program that peers run: ends at once, or with any argument stays until it is killed. */
#include <unistd.h>

int main(int argc, char **argv)
{
	(void)argv;
	while (argc > 1)
		pause();
	return 0;
}
