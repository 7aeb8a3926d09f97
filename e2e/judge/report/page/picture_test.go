//go:build browser

package page

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
)

// What the README's picture of a report is: of so many pixels, and so many bytes at most.
const (
	pictureWidth, pictureHeight = 1000, 1400
	pictureBytes                = 200 << 10
)

// cut leaves of a page its head and the scenario of a partition, or the first where there is none, and
// says which.
const cut = `(() => {
	const all = [...document.querySelectorAll("main > section")];
	const shown = all.find(s => s.getAttribute("aria-labelledby") === "network-partition") || all[0];
	all.filter(s => s !== shown).forEach(s => s.remove());
	document.querySelectorAll("nav, header details").forEach(e => e.remove());
	return shown.getAttribute("aria-labelledby");
})()`

// TestPictureInABrowser takes a picture of a report, as the README shows one. make picture wants it of the run in
// REPORT_RUN, whose page is made again, as the file REPORT_PICTURE.
func TestPictureInABrowser(t *testing.T) {
	dir, into := os.Getenv("REPORT_RUN"), os.Getenv("REPORT_PICTURE")
	if dir == "" {
		dir, _ = made(t, t.TempDir(), "run", 2)
		into = filepath.Join(t.TempDir(), "report.png")
	}
	path, err := Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, said := browser(t, path)
	if err := chromedp.Do(ctx, screen{"", pictureWidth, pictureHeight, "light"}.set(), chromedp.Navigate("file://"+path)); err != nil {
		t.Fatal(err)
	}
	name := value[string](t, ctx, cut)
	shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range said() {
		t.Error(s)
	}
	whole, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		t.Fatal(err)
	}
	if size := whole.Bounds().Size(); size != image.Pt(pictureWidth, pictureHeight) {
		t.Errorf("the picture has %v pixels", size)
	}
	small := paletted(whole)
	if len(small.Palette) < 32 { // an empty page has one colour
		t.Errorf("the picture has %d colours: nothing is on it", len(small.Palette))
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, small); err != nil {
		t.Fatal(err)
	}
	if b.Len() > pictureBytes {
		t.Errorf("the picture has %d bytes, at most %d", b.Len(), pictureBytes)
	}
	if err := os.WriteFile(into, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s, %d bytes", into, name, b.Len())
}

// paletted returns a picture in its commonest colours, as many as a byte tells apart: its file is much smaller. A
// page has few colours; the others are shades at the edges of letters.
func paletted(src image.Image) *image.Paletted {
	count := map[color.RGBA]int{}
	b := src.Bounds()
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(src.At(x, y)).(color.RGBA) }
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	common := slices.SortedFunc(maps.Keys(count), func(c, d color.RGBA) int {
		return cmp.Or(count[d]-count[c], cmp.Compare(c.R, d.R), cmp.Compare(c.G, d.G), cmp.Compare(c.B, d.B))
	})
	var palette color.Palette
	for _, c := range common[:min(len(common), 256)] {
		palette = append(palette, c)
	}
	nearest := map[color.RGBA]uint8{}
	for _, c := range common {
		nearest[c] = uint8(palette.Index(c))
	}
	out := image.NewPaletted(b, palette)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			out.SetColorIndex(x, y, nearest[at(x, y)])
		}
	}
	return out
}
