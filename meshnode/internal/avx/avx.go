// Package avx undoes a side effect of vectorised code. circl's AVX2 routines
// (1.6.5: ML-DSA, ML-KEM, Keccak) return without VZEROUPPER, so the upper halves
// of the vector registers stay in use, and every instruction in SSE encoding that
// follows waits for them: SHA-256 of 8 KiB after an ML-DSA verification takes
// 800 µs instead of 6 µs, on this thread, until something clears the registers
// (Intel's optimization manual, "Mixing AVX code with SSE code").
package avx

// Release clears the upper halves of the vector registers; it costs a few
// nanoseconds. Call it after every circl operation.
func Release() { release() }
