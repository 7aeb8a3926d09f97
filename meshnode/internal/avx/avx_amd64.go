package avx

import "golang.org/x/sys/cpu"

// zeroUpper executes VZEROUPPER, which needs AVX.
func zeroUpper()

func release() {
	if cpu.X86.HasAVX {
		zeroUpper()
	}
}
