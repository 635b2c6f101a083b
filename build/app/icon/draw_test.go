package icon

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"mios"
	"mios/format/apk"
)

var update = flag.Bool("update", false, "rewrite the golden pictures")

// testFiles are those of testdata/draw, and images that are made here.
func testFiles(t testing.TB) *textSource {
	t.Helper()
	files := fstest.MapFS{
		"checks.png": {Data: encode(t, checks(8, 8))},
		"frame.png":  {Data: withChunk(encode(t, frame(12, 12)), "npTc", ninePatchChunk([]int32{4, 8}, []int32{4, 8}))},
	}
	names, err := filepath.Glob("testdata/draw/*.xml")
	if err != nil || len(names) == 0 {
		t.Fatalf("testdata/draw/*.xml: %d files, %v", len(names), err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = &fstest.MapFile{Data: b}
	}
	return newTextSource(files)
}

func checks(w, h int) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		if (i%w/2+i/w/2)%2 == 0 {
			img.SetNRGBA(i%w, i/w, color.NRGBA{255, 255, 255, 255})
		} else {
			img.SetNRGBA(i%w, i/w, color.NRGBA{40, 80, 120, 255})
		}
	}
	return img
}

func frame(w, h int) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		x, y := i%w, i/w
		if x < 2 || y < 2 || x >= w-2 || y >= h-2 {
			img.SetNRGBA(x, y, color.NRGBA{200, 0, 0, 255})
		} else if x < 4 && y < 4 {
			img.SetNRGBA(x, y, color.NRGBA{0, 0, 0, 255})
		}
	}
	return img
}

func encode(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withChunk puts a chunk behind a PNG's header.
func withChunk(img []byte, kind string, data []byte) []byte {
	const header = 8 + 12 + 13
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	chunk = append(append(chunk, kind...), data...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	return append(append(bytes.Clone(img[:header]), chunk...), img[header:]...)
}

func ninePatchChunk(x, y []int32) []byte {
	b := make([]byte, 32)
	b[1], b[2] = byte(len(x)), byte(len(y))
	for _, v := range append(x, y...) {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return b
}

// TestGolden draws each drawable of testdata/draw that has or gets a picture.
func TestGolden(t *testing.T) {
	notDrawables := map[string]bool{"linear": true, "radial": true, "sweep": true, "states": true}
	s := testFiles(t)
	names, err := fs.Glob(s.files, "*.xml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		base := strings.TrimSuffix(name, ".xml")
		if notDrawables[base] {
			continue
		}
		for _, shape := range Shapes {
			golden := filepath.Join("testdata", "draw", base+".png")
			if shape != ShapeRounded {
				if base != "adaptive" {
					continue
				}
				golden = filepath.Join("testdata", "draw", base+"."+string(shape)+".png")
			}
			p, err := drawText(t, s, name, 96, Options{Shape: shape})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if len(p.Missing) != 0 || p.Exact || p.Width != 96 || p.MIME != "image/png" {
				t.Errorf("%s: %d wide, %s, exact %v, missing %q", name, p.Width, p.MIME, p.Exact, p.Missing)
			}
			compareGolden(t, golden, p.Data)
		}
	}
}

// compareGolden wants the picture of the file, give or take what another
// processor's floating point may change.
func compareGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: run go test -update, and look at it", err)
	}
	a, w := decode(t, got), decode(t, b)
	if a.Bounds() != w.Bounds() {
		t.Errorf("%s: %v, want %v", file, a.Bounds(), w.Bounds())
		return
	}
	if mean, far := differ(a, w); mean > 0.0005 || far > 0 {
		t.Errorf("%s: differs from what was drawn: mean %.5f, far off %.5f", file, mean, far)
	}
}

func decode(t testing.TB, b []byte) image.Image {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestVectorsAsLibrsvg draws vectors here and there.
func TestVectorsAsLibrsvg(t *testing.T) {
	s := testFiles(t)
	for _, name := range []string{"commands", "strokes", "rules", "groups", "tinted"} {
		p, err := drawText(t, s, name+".xml", 120, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		compareRSVG(t, s, name+".xml", decode(t, p.Data))
	}
}

// compareRSVG wants got to be about what librsvg makes of a vector, of which
// got may be the middle.
func compareRSVG(t *testing.T, s source, file string, got image.Image) {
	t.Helper()
	o := Options{}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	d := o.drawing(context.Background(), s, nil)
	b, err := s.file(file, maxFile)
	if err != nil {
		t.Fatal(err)
	}
	e, err := apk.ParseXML(b)
	if err != nil {
		t.Fatal(err)
	}
	size := got.Bounds().Dx()
	w, h := attrs{d, e}.length(attrWidth, 0), attrs{d, e}.length(attrHeight, 0)
	pw, ph := int(float64(size)*w/max(w, h)), int(float64(size)*h/max(w, h))
	svg, why := vectorSVG(d, e, pw, ph)
	if why != "" {
		t.Errorf("%s: SVG has no %s", file, why)
		return
	}
	want := rsvg(t, svg)
	at := image.Pt((size-pw)/2, (size-ph)/2)
	part := got.(interface {
		SubImage(image.Rectangle) image.Image
	}).SubImage(image.Rectangle{at, at.Add(image.Pt(pw, ph))})
	mean, far := differ(moved(part), want)
	t.Logf("%s: mean %.5f, far off %.5f", file, mean, far)
	if mean > 0.004 || far > 0.001 {
		t.Errorf("%s: differs from librsvg: mean %.5f, far off %.5f", file, mean, far)
	}
}

// moved is img with its corner at the origin.
func moved(img image.Image) image.Image {
	r := img.Bounds()
	out := image.NewNRGBA64(image.Rect(0, 0, r.Dx(), r.Dy()))
	for y := range r.Dy() {
		for x := range r.Dx() {
			out.Set(x, y, img.At(r.Min.X+x, r.Min.Y+y))
		}
	}
	return out
}

func pixel(img image.Image, x, y int) color.NRGBA {
	return color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
}

// TestPixels looks at single pixels whose color the resource gives.
func TestPixels(t *testing.T) {
	s := testFiles(t)
	for _, tt := range []struct {
		file string
		x, y int
		want color.NRGBA
	}{
		{"rules.xml", 24, 48, color.NRGBA{}},                          // in the middle of an even-odd star
		{"rules.xml", 72, 48, color.NRGBA{0, 0, 0, 255}},              // and of one that is not
		{"gradients.xml", 72, 72, color.NRGBA{0x33, 0xb5, 0xe5, 128}}, // the state that is off, of a system color
		{"tinted.xml", 24, 48, color.NRGBA{0x10, 0x40, 0x90, 0xc0}},   // black, tinted
		{"tinted.xml", 72, 48, color.NRGBA{0x10, 0x40, 0x90, 0x60}},   // half white, tinted
		{"adaptive.xml", 0, 0, color.NRGBA{}},                         // outside the mask
		{"adaptive.xml", 4, 86, color.NRGBA{0x4f, 0x7c, 0xce, 255}},   // a fifth along the gradient
		{"open.xml", 75, 85, color.NRGBA{0, 0, 0, 255}},               // nothing under the foreground
		{"nested.xml", 48, 4, color.NRGBA{0x10, 0x20, 0x30, 255}},     // padding of the first layer
		{"nested.xml", 20, 40, color.NRGBA{0x40, 0xc0, 0x40, 255}},    // level 0 of the second
		{"nested.xml", 70, 80, color.NRGBA{255, 255, 255, 255}},       // the inset third
		{"bitmaps.xml", 3, 3, color.NRGBA{255, 192, 0, 255}},          // white, multiplied
		{"bitmaps.xml", 60, 10, color.NRGBA{200, 0, 0, 255}},          // a nine-patch's frame
		{"bitmaps.xml", 64, 28, color.NRGBA{0xe0, 0xe0, 0xff, 255}},   // and what it leaves open
		{"bitmaps.xml", 81, 81, color.NRGBA{0xef, 0xef, 255, 255}},    // half a white check
		{"shapes.xml", 24, 24, color.NRGBA{0xfd, 0xf7, 0x7a, 255}},    // a radial gradient's middle
		{"shapes.xml", 68, 24, color.NRGBA{255, 255, 255, 255}},       // a ring's hole
		{"shapes.xml", 48, 48, color.NRGBA{0x80, 0, 0, 255}},          // tinted over the top
		{"shapes.xml", 48, 1, color.NRGBA{0x40, 0x40, 0x40, 255}},     // stroke
		{"shapes.xml", 0, 0, color.NRGBA{}},                           // a round corner
	} {
		p, err := drawText(t, s, tt.file, 96, Options{})
		if err != nil {
			t.Errorf("%s: %v", tt.file, err)
			continue
		}
		got := pixel(decode(t, p.Data), tt.x, tt.y)
		near := func(a, b uint8) bool { return a-b <= 2 || b-a <= 2 }
		if !near(got.R, tt.want.R) || !near(got.G, tt.want.G) || !near(got.B, tt.want.B) || !near(got.A, tt.want.A) {
			t.Errorf("%s at %d, %d: %v, want %v", tt.file, tt.x, tt.y, got, tt.want)
		}
	}
}

// draw1 draws one text.
func draw1(t testing.TB, text string, o Options) (*Icon, error) {
	t.Helper()
	head, rest, _ := strings.Cut(text, ">")
	cut := len(head)
	if strings.HasSuffix(head, "/") {
		cut--
	}
	text = head[:cut] + ` xmlns:android="http://schemas.android.com/apk/res/android"` + head[cut:] + ">" + rest
	files := fstest.MapFS{"x.xml": {Data: []byte(text)}, "huge.png": {Data: hugePNG()}, "text.png": {Data: []byte("no image")}}
	return drawText(t, newTextSource(files), "x.xml", 32, o)
}

// hugePNG is the beginning of one with 60000 x 60000 pixels.
func hugePNG() []byte {
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\xea\x60\x00\x00\xea\x60\x08\x06\x00\x00\x00")
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[12:]))
}

// TestMissing wants what is not drawn to be said, and what is nothing at all to
// be an error.
func TestMissing(t *testing.T) {
	const square = `<path android:fillColor="#ff0000" android:pathData="M0 0h1v1H0z"/>`
	vector := func(inner string) string {
		return `<vector android:width="1dp" android:height="1dp" android:viewportWidth="1" android:viewportHeight="1">` + inner + `</vector>`
	}
	for _, tt := range []struct {
		text, want string
		whole      bool // nothing else is there
	}{
		{vector(square + `<path android:fillColor="#00ff00" android:pathData="M0 0h"/>` + square), "", false},
		{vector(square + `<path android:fillColor="#00ff00" android:pathData="M0 0h1 2 x"/>`), `'x' is no command`, false},
		{vector(square + `<path android:fillColor="?0x01010433" android:pathData="M0 0h1v1z"/>`), "the theme's attribute ?0x01010433 is not known", false},
		{vector(square + `<path android:fillColor="@0x01060045" android:pathData="M0 0h1v1z"/>`), "@0x01060045 is the system's own", false},
		{vector(`<clip-path android:pathData="M0 0 1"/>` + square), "want a number", true},
		{vector(square + `<sprite/>`), "<sprite> is not known", false},
		{`<vector android:width="1dp"/>`, "with a viewport of 0x0", true},
		{`<clip><color android:color="#ff0000"/></clip>`, "level", true},
		{`<com.example.Drawable/>`, "a class of the app's own", true},
		{`<layer-list><item><color android:color="#ff0000"/></item><item android:drawable="@drawable/x"/></layer-list>`, "more than", false},
		{`<layer-list><item><color android:color="#ff0000"/></item><item android:drawable="@drawable/none.png"/></layer-list>`, "none.png: not found", false},
		{`<bitmap android:src="@drawable/huge.png"/>`, "60000 x 60000 pixels", true},
		{`<bitmap android:src="@drawable/text.png"/>`, "neither PNG", true},
		{`<bitmap/>`, "without src", true},
		{`<selector><item android:state_pressed="true"><color android:color="#ff0000"/></item></selector>`, "in no state", true},
		{`<shape><gradient android:angle="30" android:startColor="#ff0000" android:endColor="#0000ff"/></shape>`, "no multiple of 45", false},
		{`<adaptive-icon><foreground><color android:color="#ff0000"/></foreground></adaptive-icon>`, "without <background>", false},
	} {
		p, err := draw1(t, tt.text, Options{})
		said := ""
		switch {
		case err != nil:
			said = err.Error()
			if !errors.Is(err, mios.ErrInvalid) {
				t.Errorf("%s: %v: want an error that is ErrInvalid", tt.text, err)
			}
		default:
			said = strings.Join(p.Missing, "; ")
		}
		if !strings.Contains(said, tt.want) || (said == "") != (tt.want == "") || (err != nil) != tt.whole {
			t.Errorf("%s: error %v, missing %q: want %q", tt.text, err, said, tt.want)
		}
	}
}

// TestBounded wants drawings that would never end to end.
func TestBounded(t *testing.T) {
	const lines = `<path android:strokeColor="#ff0000" android:strokeWidth="100" android:pathData="M0 0`
	big := `<vector android:width="1dp" android:height="1dp" android:viewportWidth="100" android:viewportHeight="100">`
	for range 50 {
		big += lines + strings.Repeat("h100v1h-100v1", 1000) + `"/>`
	}
	files := fstest.MapFS{"big.xml": {Data: []byte(strings.Replace(big, "<vector", `<vector xmlns:android="`+apk.AndroidNS+`"`, 1) + "</vector>")}}
	o := Options{}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	d := o.drawing(context.Background(), newTextSource(files), nil)
	d.work = maxWork - 1<<26 // a sixteenth of all is left
	if _, err := d.icon(apk.Value{Type: apk.TypeString, Str: "big.xml"}, MaxSize, false); !errors.Is(err, errTooMuch) {
		t.Errorf("drawing a million wide lines: %v, want %v", err, errTooMuch)
	}
	curves, err := parsePath("M0 0" + strings.Repeat("c0 9e30 9e30 0 1 1", maxPathOps-2))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(curves.flat(scaling(1, 1), flatness)[0].pts); n > 2*maxPoints {
		t.Errorf("a path of %d curves is %d lines", maxPathOps, n)
	}
	// 2 to the 12th layers
	twice := fstest.MapFS{"a.xml": {Data: []byte(`<color xmlns:android="` + apk.AndroidNS + `" android:color="#ff0000"/>`)}}
	for i := 1; i <= 13; i++ {
		prev := string(rune('a' + i - 1))
		twice[string(rune('a'+i))+".xml"] = &fstest.MapFile{Data: []byte(`<layer-list xmlns:android="` + apk.AndroidNS +
			`"><item android:drawable="@drawable/` + prev + `"/><item android:drawable="@drawable/` + prev + `"/></layer-list>`)}
	}
	p, err := drawText(t, newTextSource(twice), "n.xml", 16, Options{})
	if err != nil || !strings.Contains(strings.Join(p.Missing, ";"), "more than 4096 drawables") {
		t.Errorf("layers in layers: %v, %v: want it to say that there are too many", p, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := testFiles(t)
	if _, err := o.drawing(ctx, s, nil).icon(apk.Value{Type: apk.TypeString, Str: "shapes.xml"}, 96, false); !errors.Is(err, context.Canceled) {
		t.Errorf("drawing after the end of its context: %v", err)
	}
}

// TestOtherFormats gives a JPEG as it is, or as PNG.
func TestOtherFormats(t *testing.T) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, checks(20, 10), nil); err != nil {
		t.Fatal(err)
	}
	s := newTextSource(fstest.MapFS{"photo.jpg": {Data: b.Bytes()}})
	o := Options{}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	v := apk.Value{Type: apk.TypeString, Str: "photo.jpg"}
	p, err := o.drawing(context.Background(), s, nil).icon(v, 0, false)
	if err != nil || !p.Exact || p.MIME != "image/jpeg" || p.Width != 20 || p.Height != 10 || !bytes.Equal(p.Data, b.Bytes()) {
		t.Errorf("as it is: %v, %+v", err, p)
	}
	p, err = o.drawing(context.Background(), s, nil).icon(v, 0, true)
	if err != nil || p.Exact || p.MIME != "image/png" || p.Width != 20 || p.Height != 20 {
		t.Fatalf("as PNG: %v, %+v", err, p)
	}
	if img := decode(t, p.Data); pixel(img, 1, 1).A != 0 || pixel(img, 1, 10).A != 255 {
		t.Errorf("as PNG: it is not in the middle of a square")
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Density: 1}, {Density: 3000}, {Size: -1}, {Size: MaxSize + 1}, {Shape: "heart"}, {Locale: "???"}} {
		if err := o.Check(); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("%+v: %v, want an error", o, err)
		}
	}
	for _, o := range []Options{{}, {Density: 240, Size: 512, Shape: ShapeCircle, Locale: "zh-Hant-TW", Night: true}} {
		if err := o.Check(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
