#include "CBPFObjects.h"

/* libbpf reads ELF structures in place, hence the alignment. `make bpf` must have run. */
static const unsigned char datapath[] __attribute__((aligned(8))) = {
#embed "../../bpf/out/needletail.bpf.o"
};
static const unsigned char bench[] __attribute__((aligned(8))) = {
#embed "../../bpf/out/bench.bpf.o"
};

static const unsigned char generate[] __attribute__((aligned(8))) = {
#embed "../../bpf/out/generate.bpf.o"
};

const void *cbpf_datapath(void)
{
	return datapath;
}

size_t cbpf_datapath_size(void)
{
	return sizeof(datapath);
}

const void *cbpf_bench(void)
{
	return bench;
}

size_t cbpf_bench_size(void)
{
	return sizeof(bench);
}

const void *cbpf_generate(void)
{
	return generate;
}

size_t cbpf_generate_size(void)
{
	return sizeof(generate);
}
