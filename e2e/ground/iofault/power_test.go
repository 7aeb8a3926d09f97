package iofault

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// losePower makes toda take the power away.
func (p *process) losePower(t *testing.T, seed uint64) (loss Loss) {
	t.Helper()
	if err := p.rpc.CallResult(context.Background(), "lose_power", []uint64{seed}, &loss); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", loss)
	return loss
}

func TestPowerLossTakesWhatIsNotDurable(t *testing.T) {
	const pages = 64
	old, fresh := bytes.Repeat([]byte{'o'}, pages*pageBytes), bytes.Repeat([]byte{'n'}, pages*pageBytes)
	c := start(t, "idle")
	for _, name := range []string{"synced", "unsynced", "half"} {
		if err := os.WriteFile(filepath.Join(c.volume, name), old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := c.inject(t, "--power")
	p.mustUpdate(t)
	write := func(name string, data []byte, off int64) *os.File {
		f, err := os.OpenFile(c.path(name), os.O_RDWR, 0)
		if err == nil {
			_, err = f.WriteAt(data, off)
		}
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	synced, unsynced, half := write("synced", fresh, 0), write("unsynced", fresh, 0), write("half", fresh[:pages/2*pageBytes], 0)
	if err := errors.Join(synced.Sync(), half.Sync()); err != nil {
		t.Fatal(err)
	}
	if _, err := half.WriteAt(fresh[pages/2*pageBytes:], pages/2*pageBytes); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(c.path("unsynced")); err != nil || !bytes.Equal(b, fresh) {
		t.Errorf("before the loss what was written is not read: %v", err)
	}
	loss := p.losePower(t, 1)
	if loss.Files != 2 || loss.Lost+loss.Torn+loss.Kept != pages+pages/2 || loss.Lost == 0 || loss.Torn == 0 || loss.Kept == 0 {
		t.Errorf("loss is %+v", loss)
	}
	for what, do := range map[string]func() error{
		"write": func() error { _, err := unsynced.WriteAt([]byte("x"), 0); return err },
		"fsync": unsynced.Sync,
		"open":  func() error { _, err := os.ReadFile(c.path("synced")); return err },
	} {
		if err := do(); !errors.Is(err, unix.EIO) {
			t.Errorf("%s without power: %v", what, err)
		}
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(c.volume, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(read("synced"), fresh) {
		t.Error("what was durable is lost")
	}
	if b := read("half"); !bytes.Equal(b[:pages/2*pageBytes], fresh[:pages/2*pageBytes]) || bytes.Equal(b, fresh) {
		t.Error("a file that is durable by half is not what it should be")
	}
	kinds := map[string]int{}
	for page := range pages {
		kinds[mixture(t, read("unsynced")[page*pageBytes:(page+1)*pageBytes])]++
	}
	t.Log(kinds)
	if kinds["old"] == 0 || kinds["new"] == 0 || kinds["torn"] == 0 {
		t.Errorf("pages are %v", kinds)
	}
}

// mixture tells whether a page is old, new, or torn between sectors.
func mixture(t *testing.T, page []byte) string {
	t.Helper()
	old := 0
	for at := 0; at < len(page); at += sectorBytes {
		sector := page[at : at+sectorBytes]
		if bytes.Count(sector, sector[:1]) != sectorBytes {
			t.Error("a sector is torn in itself")
		}
		if sector[0] == 'o' {
			old++
		}
	}
	switch old {
	case 0:
		return "new"
	case len(page) / sectorBytes:
		return "old"
	}
	return "torn"
}

// TestPowerLossLeavesOnlyWhatWasWritten writes, cuts, extends and syncs at random: whatever a file has
// after the loss, it has each sector as it was at the last sync or as it was written since.
func TestPowerLossLeavesOnlyWhatWasWritten(t *testing.T) {
	for seed := range uint64(30) {
		draw := rand.New(rand.NewPCG(seed, 7))
		file, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		fd := int(file.Fd())
		p := newPower()
		const sectors = 400
		possible := make([]map[byte]bool, sectors) // by sector: what it can have; nil is not written yet
		durable := make([]byte, sectors)
		for i := range possible {
			possible[i] = map[byte]bool{0: true}
		}
		size, sizes := int64(0), map[int64]bool{0: true}
		content := make([]byte, sectors)
		for step := range 60 {
			switch draw.IntN(6) {
			case 0: // cut or extend
				size = draw.Int64N(sectors)
				if errno := p.change(fd, size*sectorBytes, 0, func() unix.Errno { return errnoOf(unix.Ftruncate(fd, size*sectorBytes)) }); errno != 0 {
					t.Fatal(errno)
				}
				clear(content[size:])
			case 1:
				if errno := p.harden(fd, 0, whole, func() unix.Errno { return errnoOf(unix.Fsync(fd)) }); errno != 0 {
					t.Fatal(errno)
				}
				copy(durable, content)
				for i := range possible {
					possible[i] = map[byte]bool{content[i]: true}
				}
				sizes = map[int64]bool{size: true}
			default:
				from, value := draw.IntN(sectors-50), byte(step+1)
				n := 1 + draw.IntN(50)
				data := bytes.Repeat([]byte{value}, n*sectorBytes)
				if errno := p.change(fd, int64(from*sectorBytes), int64(len(data)), func() unix.Errno {
					_, err := unix.Pwrite(fd, data, int64(from*sectorBytes))
					return errnoOf(err)
				}); errno != 0 {
					t.Fatal(errno)
				}
				for i := from; i < from+n; i++ {
					content[i] = value
				}
				size = max(size, int64(from+n))
			}
			for i := range possible {
				possible[i][content[i]] = true
				possible[i][0] = possible[i][0] || int64(i) >= size
			}
			sizes[size] = true
		}
		if _, err := p.lose(seed); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		if len(b)%sectorBytes != 0 || !sizes[int64(len(b)/sectorBytes)] {
			t.Errorf("seed %d: the size is %d sectors, and was never", seed, len(b)/sectorBytes)
		}
		for i := range len(b) / sectorBytes {
			sector := b[i*sectorBytes : (i+1)*sectorBytes]
			if bytes.Count(sector, sector[:1]) != sectorBytes || !possible[i][sector[0]] {
				t.Errorf("seed %d: sector %d has %d, want one of %v", seed, i, sector[0], possible[i])
			}
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
}

func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	errors.As(err, &errno)
	return errno
}

// TestDatabaseSurvivesPowerLoss takes the power away from a bbolt database that is being written:
// what it had acknowledged is there.
func TestDatabaseSurvivesPowerLoss(t *testing.T) {
	for seed := range uint64(5) {
		c := start(t, "acknowledger")
		p := c.inject(t, "--power")
		p.mustUpdate(t)
		c.say(t, "go")
		for range 29 {
			c.line(t)
		}
		loss := p.losePower(t, seed)
		acknowledged := uint64(30)
		for line := c.line(t); line != "failed"; line = c.line(t) {
			acknowledged++
		}
		if loss.Files == 0 {
			t.Log("nothing was under way")
		}
		if err := c.init.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-c.ended
		p.wait(t)
		c.databaseHas(t, acknowledged)
	}
}

// TestPowerLossFindsAMissingSync is the control: a database that does not sync loses records, or is
// broken.
func TestPowerLossFindsAMissingSync(t *testing.T) {
	c := start(t, "acknowledger", "NOSYNC=1")
	p := c.inject(t, "--power")
	p.mustUpdate(t)
	c.say(t, "go")
	for range 29 {
		c.line(t)
	}
	if loss := p.losePower(t, 3); loss.Lost+loss.Torn == 0 {
		t.Errorf("nothing was lost: %+v", loss)
	}
	if err := c.init.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-c.ended
	p.wait(t)
	if c.databaseIsWhole(t, 30) == nil {
		t.Error("a database that never syncs has everything after the power was lost")
	}
}
