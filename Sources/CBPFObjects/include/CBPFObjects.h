/* The compiled BPF objects, carried inside the binary. */
#ifndef CBPFOBJECTS_H
#define CBPFOBJECTS_H

#include <stddef.h>

/* The datapath, bpf/needletail.bpf.c. */
const void *cbpf_datapath(void);
size_t cbpf_datapath_size(void);

/* Programs of the benchmark harness, bpf/bench.bpf.c. */
const void *cbpf_bench(void);
size_t cbpf_bench_size(void);

/* The benchmark's generator of packets, bpf/generate.bpf.c. */
const void *cbpf_generate(void);
size_t cbpf_generate_size(void);

#endif
