package netem

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A packet is never early. It is late by what the scheduler makes of it, which on a
// busy machine is a lot for few packets: hence medians, and a tolerance, in seconds. In
// an emulated machine everything takes long; there the comparison with the kernel counts.
func lateness() float64 {
	if emulated() {
		return 0.030
	}
	return 0.008
}

// calm measures a flow, again if the machine was too busy, and returns the trace with
// the lowest mean delay: what else runs can only add to it.
func calm(t testing.TB, from, to *host, f flow, mean float64) trace {
	t.Helper()
	var best trace
	for range 4 {
		got := measure(t, from, to, f)
		if best == nil || got.mean() < best.mean() {
			best = got
		}
		if best.mean() < mean+lateness()/2 {
			break
		}
	}
	return best
}

func TestDelay(t *testing.T) {
	a, b := pair(t)
	s := a.serve(t, "delay 200ms")
	if s.Backpressure {
		t.Error("senders feel the queue")
	}
	for _, ipv6 := range []bool{false, true} {
		f := flow{packets: 500, burst: 1, every: time.Millisecond, wait: 5 * time.Second, ipv6: ipv6}
		got := calm(t, a, b, f, 0.2)
		if got.loss() != 0 || got.min() < 200*time.Millisecond {
			t.Errorf("IPv6 %t: lost %g, shortest %s", ipv6, got.loss(), got.min())
		}
		near(t, "median delay", got.quantile(0.5), 0.2, lateness())
		t.Logf("IPv6 %t: delay %.1f ms at the median, %.1f ms at most", ipv6, 1e3*got.quantile(0.5), 1e3*got.quantile(1))
		undelayed(t, b, a) // only what eth0 sends
	}
	undelayed(t, a, a) // loopback
}

func TestJitter(t *testing.T) {
	a, b := pair(t)
	a.serve(t, "delay 200ms 50ms 50.000000")
	got := calm(t, a, b, flow{packets: 3000, burst: 1, every: time.Millisecond, wait: 5 * time.Second}, 0.2)
	if got.loss() != 0 || got.min() < 150*time.Millisecond {
		t.Errorf("lost %g, shortest %s", got.loss(), got.min())
	}
	near(t, "mean delay", got.mean(), 0.2, lateness())
	near(t, "median delay", got.quantile(0.5), 0.2, lateness())
	for i := range 9 { // uniform between 150 and 250 ms
		q := float64(i+1) / 10
		near(t, "quantile", got.quantile(q), 0.15+0.1*q, lateness())
	}
	near(t, "autocorrelation", got.autocorrelation(), 0, 0.1) // as in the kernel, see Model
	reordered := 0
	for i := range got[1:] {
		if time.Duration(i+1)*time.Millisecond+got[i+1].delay < time.Duration(i)*time.Millisecond+got[i].delay {
			reordered++
		}
	}
	if reordered < 1000 { // half of them but for the millisecond between
		t.Errorf("%d packets overtook the one before", reordered)
	}
}

func TestLoss(t *testing.T) {
	a, b := pair(t)
	for _, c := range []struct {
		options        string
		loss, repeated float64 // the model's, see its test
	}{
		{"loss 10.000000", 0.1, 0.1},
		{"loss 30.000000 25.000000", lossAt25.loss, lossAt25.repeated},
	} {
		a.serve(t, c.options)
		got := measure(t, a, b, flow{packets: 20000, burst: 20, every: time.Millisecond, wait: 500 * time.Millisecond})
		near(t, c.options, got.loss(), c.loss, 0.015)
		near(t, c.options+" after a loss", got.lossAfterLoss(), c.repeated, 0.04)
		a.remove(t)
	}
	undelayed(t, a, b)
}

// TestLimit: what is too much is dropped, as a real qdisc does.
func TestLimit(t *testing.T) {
	a, b := pair(t)
	a.serve(t, "delay 500ms limit 50")
	got := measure(t, a, b, flow{packets: 200, burst: 200, every: time.Millisecond, wait: 2 * time.Second})
	near(t, "loss", got.loss(), 0.75, 0.02) // the host has a packet of its own to send now and then
}

// TestThroughput: 20,000 packets per second, kept up for a second by one socket, on a
// machine that has nothing else to do. Other tests run beside this one: then it is at
// least half of what the socket sends without the stand-in. What else runs can only
// take away from that, so one good turn of a few is enough.
func TestThroughput(t *testing.T) {
	if emulated() {
		t.Skip("this machine is emulated: throughput is measured where it is real")
	}
	a, b := pair(t)
	const rate, want = 22000, 20000
	send := func(delay time.Duration) (trace, float64) {
		began := time.Now()
		got := measure(t, a, b, flow{packets: rate, burst: rate / 1000, every: time.Millisecond, size: 200, wait: 5 * time.Second})
		return got, float64(len(got)) / (time.Since(began) - delay).Seconds()
	}
	var got trace
	var bare, sent float64
	for range 6 {
		_, bare = send(0)
		a.serve(t, "delay 200ms 20ms limit 20000")
		got, sent = send(200 * time.Millisecond)
		a.remove(t)
		t.Logf("%.0f packets per second, %.0f without it; lost %g, delay %.1f ms at the median, %.1f ms at the 99th percentile",
			sent, bare, got.loss(), 1e3*got.quantile(0.5), 1e3*got.quantile(0.99))
		if got.min() < 180*time.Millisecond {
			t.Errorf("shortest %s", got.min())
		}
		// How exact the delay is at rest has tests of its own.
		if sent >= min(want, bare/2) && got.loss() == 0 && got.quantile(0.5) < 0.25 {
			return
		}
	}
	t.Errorf("%.0f packets per second, %.0f without it; lost %g, median delay %g s", sent, bare, got.loss(), got.quantile(0.5))
}

// TestSendersDoNotFeelIt: TCP opens its window over the delay as over a long path. If
// its packets counted against it while they are held, it would send about 15 KiB per second.
func TestSendersDoNotFeelIt(t *testing.T) {
	a, b := pair(t)
	a.serve(t, "delay 100ms limit 10000")
	const bytes = 1 << 20
	var l net.Listener
	b.do(t, func() (err error) { l, err = net.Listen("tcp", net.JoinHostPort(b.ipv4.String(), "0")); return err })
	defer l.Close()
	received := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			received <- err
			return
		}
		defer c.Close()
		n, err := io.Copy(io.Discard, c)
		if n != bytes {
			err = errors.Join(err, io.ErrUnexpectedEOF)
		}
		received <- err
	}()
	began := time.Now()
	a.do(t, func() error {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		_, err = c.Write(make([]byte, bytes))
		return errors.Join(err, c.Close())
	})
	if err := <-received; err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("1 MiB took %s", took)
	if took < 400*time.Millisecond || took > 10*time.Second { // at least SYN, and three windows
		t.Errorf("1 MiB took %s", took)
	}
}

// TestLongDatagrams: they are fragmented after they were held.
func TestLongDatagrams(t *testing.T) {
	a, b := pair(t)
	a.serve(t, "delay 50ms")
	for _, size := range []int{1472, 1473, 8000, 60000} {
		for _, ipv6 := range []bool{false, true} {
			got := measure(t, a, b, flow{packets: 3, burst: 1, every: time.Millisecond, size: size, wait: 5 * time.Second, ipv6: ipv6})
			if got.loss() != 0 || got.min() < 50*time.Millisecond {
				t.Errorf("%d bytes, IPv6 %t: lost %g", size, ipv6, got.loss())
			}
		}
	}
}

// TestRefusedDestinationIsReported: a sender hears of errors as without it.
func TestRefusedDestinationIsReported(t *testing.T) {
	a, b := pair(t)
	a.serve(t, "delay 10ms")
	a.do(t, func() error {
		c, err := net.Dial("udp", net.JoinHostPort(b.ipv4.String(), "9"))
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.Errno(unix.ECONNREFUSED)) {
			t.Errorf("read: %v", err)
		}
		return nil
	})
}

// TestTrackedConnections: copies are not tracked, so where connections are, the
// packets themselves are held, and answers belong to their connections.
func TestTrackedConnections(t *testing.T) {
	a, b := pair(t)
	track := &rule{table: "track"}
	a.do(t, func() (err error) {
		if track.owner, err = openSocket(unix.NETLINK_NETFILTER, 0); err != nil {
			return err
		}
		return track.set(unix.NFPROTO_IPV4, [][]expression{{{"ct", func(a *attributes) {
			a.number(unix.NFTA_CT_KEY, unix.NFT_CT_STATE)
			a.number(unix.NFTA_CT_DREG, unix.NFT_REG_1)
		}}}})
	})
	t.Cleanup(func() {
		if err := track.close(); err != nil {
			t.Error(err)
		}
	})
	undelayed(t, a, b)
	if s := a.serve(t, "delay 100ms"); !s.Backpressure {
		t.Errorf("%+v", s)
	}
	got := measure(t, a, b, flow{packets: 100, burst: 1, every: time.Millisecond, wait: 5 * time.Second})
	if got.loss() != 0 || got.min() < 100*time.Millisecond {
		t.Errorf("lost %g, shortest %s", got.loss(), got.min())
	}
}
