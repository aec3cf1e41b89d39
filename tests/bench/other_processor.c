/* Preloaded library: CPUID answers as an AMD processor with AVX2 and without AVX-512.
 *
 * Linux can make the instruction fault (arch_prctl, ARCH_SET_CPUID); the handler executes it,
 * changes the answer and continues behind it. Everything runs at full speed, with the code that the
 * libraries select for the other processor. Needs Linux on x86-64 and the flag `cpuid_fault`.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define BIT(n) (1u << (n))

typedef struct {
    uint32_t eax, ebx, ecx, edx;
} Answer;

static long set_cpuid(long enabled) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, enabled); }

static Answer without_avx512(uint32_t leaf, uint32_t subleaf, Answer is)
{
    if (leaf == 7 && subleaf == 0) { /* AVX-512 F, DQ, IFMA, PF, ER, CD, BW, VL; VBMI ...; AMX */
        is.ebx &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31));
        is.ecx &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));
        is.edx &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25));
    } else if (leaf == 7 && subleaf == 1) { /* AVX-VNNI, AVX512-BF16, AVX-IFMA and their kin */
        is.eax &= ~(BIT(4) | BIT(5) | BIT(23));
        is.edx &= ~(BIT(4) | BIT(5) | BIT(10));
    } else if (leaf == 0xd && subleaf == 0) { /* state components of AVX-512 */
        is.eax &= ~0xe0u;
    }
    return is;
}

static Answer of_amd(uint32_t leaf, uint32_t subleaf, Answer is)
{
    static const Answer caches[] = { /* L1d, L1i, L2, L3 of an EPYC 7003 */
        {0x121, 0x01C0003F, 63, 0},
        {0x122, 0x01C0003F, 63, 0},
        {0x143, 0x01C0003F, 1023, 2},
        {0x163, 0x03C0003F, 32767, 1},
    };
    switch (leaf) {
    case 0:
        memcpy(&is.ebx, "Auth", 4);
        memcpy(&is.edx, "enti", 4);
        memcpy(&is.ecx, "cAMD", 4);
        is.eax = is.eax > 0x10 ? 0x10 : is.eax;
        break;
    case 1: is.eax = 0x00A00F11; break; /* family 19h */
    case 4: is = (Answer){0, 0, 0, 0}; break;
    case 0x80000000u: is.eax = 0x80000021u; break;
    case 0x80000005u: is.ecx = is.edx = 0x20080140; break;
    case 0x80000006u: is.ecx = 0x02006140; is.edx = 0x01009140; break;
    case 0x8000001du: is = subleaf < 4 ? caches[subleaf] : (Answer){0, 0, 0, 0}; break;
    }
    return is;
}

static void answer(int signal_number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)registers[REG_RIP];
    uint32_t leaf = registers[REG_RAX], subleaf = registers[REG_RCX];
    Answer is;
    (void)info;
    if (code[0] != 0x0f || code[1] != 0xa2) { /* a real fault: die of it when it happens again */
        signal(signal_number, SIG_DFL);
        return;
    }
    set_cpuid(1);
    __asm__ volatile("cpuid"
                     : "=a"(is.eax), "=b"(is.ebx), "=c"(is.ecx), "=d"(is.edx)
                     : "a"(leaf), "c"(subleaf));
    set_cpuid(0);
    is = of_amd(leaf, subleaf, without_avx512(leaf, subleaf, is));
    registers[REG_RAX] = is.eax;
    registers[REG_RBX] = is.ebx;
    registers[REG_RCX] = is.ecx;
    registers[REG_RDX] = is.edx;
    registers[REG_RIP] += 2;
}

typedef int (*Sigaction)(int, const struct sigaction *, struct sigaction *);

static Sigaction real_sigaction(void) { return (Sigaction)dlsym(RTLD_NEXT, "sigaction"); }

/* torch's loader processes would replace the handler. */
int sigaction(int number, const struct sigaction *new, struct sigaction *old)
{
    return real_sigaction()(number, number == SIGSEGV ? NULL : new, old);
}

__attribute__((constructor)) static void start(void)
{
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (real_sigaction()(SIGSEGV, &action, NULL) || set_cpuid(0)) {
        fputs("other_processor: this machine cannot make CPUID fault\n", stderr);
        _exit(2);
    }
}
