package e2e

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
)

// mostPicture is how many bytes a document's picture may have: who reads it may be on a slow line.
const mostPicture = 200 << 10

var picture = regexp.MustCompile(`!\[([^\]]*)\]\(([^)]+)\)`)

// spoilt tells what is wrong with the pictures of a document, which shows one at least.
func spoilt(files fs.FS, document, text string) (wrong []string) {
	found := picture.FindAllStringSubmatch(text, -1)
	if len(found) == 0 {
		wrong = append(wrong, "it shows no picture")
	}
	for _, m := range found {
		if strings.TrimSpace(m[1]) == "" {
			wrong = append(wrong, m[2]+" has no words for who does not see it")
		}
		b, err := fs.ReadFile(files, path.Join(path.Dir(document), m[2]))
		if err != nil {
			wrong = append(wrong, err.Error())
			continue
		}
		if len(b) > mostPicture {
			wrong = append(wrong, fmt.Sprintf("%s has %d bytes, at most %d", m[2], len(b), mostPicture))
		}
		if _, err := png.Decode(bytes.NewReader(b)); err != nil {
			wrong = append(wrong, fmt.Sprintf("%s is no PNG: %v", m[2], err))
		}
	}
	return wrong
}

// TestPicture: the README shows a real report.
func TestPicture(t *testing.T) {
	if !testing.Short() {
		t.Skip("a run of the suite judges the mesh: -short runs this")
	}
	root, err := cluster.Project()
	if err != nil {
		t.Fatal(err)
	}
	files := os.DirFS(root)
	text, err := fs.ReadFile(files, "README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range spoilt(files, "README.md", string(text)) {
		t.Errorf("README.md: %s", wrong)
	}
}

func TestPictureIsJudged(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	files := fstest.MapFS{
		"e2e/good.png":  {Data: good},
		"e2e/cut.png":   {Data: good[:len(good)-8]},
		"e2e/jpeg.png":  {Data: []byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00")},
		"e2e/large.png": {Data: append(bytes.Clone(good), make([]byte, mostPicture)...)}, // what follows the picture is not looked at
	}
	for text, want := range map[string]string{
		"![a report](e2e/good.png)":                         "",
		"[a report](e2e/good.png)":                          "no picture",
		"![ ](e2e/good.png)":                                "no words",
		"![a report](good.png)":                             "good.png: file does not exist",
		"![a report](e2e/cut.png)":                          "is no PNG",
		"![a report](e2e/jpeg.png)":                         "is no PNG",
		"![a report](e2e/large.png)":                        "bytes, at most",
		"![a](e2e/good.png) and ![another](e2e/absent.png)": "absent.png: file does not exist",
	} {
		got := spoilt(files, "README.md", text)
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0], want)) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if got := spoilt(files, "e2e/README.md", "![a report](good.png)"); len(got) > 0 {
		t.Errorf("beside its document: %q", got)
	}
}
