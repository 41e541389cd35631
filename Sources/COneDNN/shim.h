#include <oneapi/dnnl/dnnl.h>
// libgomp's omp.h lives in GCC's private include folder; oneDNN runs on OpenMP and this is all we need of it.
void omp_set_num_threads(int count);
