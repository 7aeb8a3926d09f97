package verifier

import (
	"net/netip"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

// BenchmarkUnderFlood is the round trip of a valid frame between two hosts,
// alone and while the peer's link is also flooded with forged frames as fast as
// one sender can. The flood needs a CPU of its own: with fewer than three, sender,
// receiver and flood also compete for what the verifier does not touch.
func BenchmarkUnderFlood(b *testing.B) {
	for _, flooded := range []bool{false, true} {
		name := "quiet"
		if flooded {
			name = "flood"
		}
		b.Run(name, func(b *testing.B) {
			node, peer := lab.TwoHosts(b)
			v := open(b, node, "")
			r := newRunner(v, "xdp")
			r.put(b, testID, testKey)
			mesh := node.Listen(b, "udp4", frame.Port)
			to := netip.AddrPortFrom(node.IPv4, frame.Port)
			conn := peer.Listen(b, "udp4", 0)
			from := lab.Station{Conn: conn, To: to}

			stop, stopped := make(chan struct{}), make(chan uint64, 1)
			go func() {
				flood := lab.Station{Conn: peer.Listen(b, "udp4", 0), To: to}
				forgery := lab.Sealed(frame.Data, testID, frame.Key{}, 1<<30, 100)
				var sent uint64
				for flooded {
					select {
					case <-stop:
						stopped <- sent
						return
					default:
						flood.Send(b, forgery)
						sent++
					}
				}
				stopped <- 0
			}()
			var times []time.Duration
			lost, sequence := 0, uint64(0)
			buffer := make([]byte, 2048)
			start := Now()
			for b.Loop() {
				sequence++
				begin := Now()
				from.Send(b, lab.Sealed(frame.Data, testID, testKey, sequence, 1000))
				if err := mesh.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
					b.Fatal(err)
				}
				if _, err := mesh.Read(buffer); err != nil {
					lost++
					continue
				}
				times = append(times, Now()-begin)
			}
			elapsed := Now() - start
			close(stop)
			b.ReportMetric(percentile(times, .5), "p50-ns")
			b.ReportMetric(percentile(times, .99), "p99-ns")
			b.ReportMetric(float64(lost), "lost")
			b.ReportMetric(float64(<-stopped)/elapsed.Seconds(), "forged/s")
		})
	}
}
