package trend

import (
	"crypto/sha256"
	"time"
)

const (
	// calibrationRounds are measured, and the fastest counts: what disturbs a round makes it
	// slower, and nothing makes one faster.
	calibrationRounds = 9
	calibrationBytes  = 8 << 20
)

// Calibrate returns how fast one core of this machine is, in MiB of SHA-256 a second. It is
// the same work every time, and takes less than a second.
func Calibrate() float64 {
	block := make([]byte, calibrationBytes)
	fastest := time.Duration(0)
	for range calibrationRounds {
		start := time.Now()
		sum := sha256.Sum256(block)
		took := time.Since(start)
		block[0] = sum[0] // each round depends on the one before
		if fastest == 0 || took < fastest {
			fastest = took
		}
	}
	return float64(calibrationBytes>>20) / fastest.Seconds()
}
