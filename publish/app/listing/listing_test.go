package listing

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"mios"
)

// picture makes a picture with some detail, opaque or not.
func picture(w, h int, opaque bool) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.NRGBA{uint8(x), uint8(y), uint8(x ^ y), 255}
			if !opaque && x < w/2 {
				c.A = uint8(y)
			}
			img.SetNRGBA(x, y, c)
		}
	}
	return img
}

func asPNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asJPEG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func folder(files map[string]string) fstest.MapFS {
	m := make(fstest.MapFS)
	for name, content := range files {
		m[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return m
}

func TestRead(t *testing.T) {
	icon, shot := string(asPNG(t, picture(512, 512, false))), string(asJPEG(t, picture(660, 1640, true)))
	m := folder(map[string]string{
		"en-US/title.txt":                         "\ufeffA clock\r\n",
		"en-US/short_description.txt":             "Tells the time.\n",
		"en-US/full_description.txt":              "It tells <b>the time</b> &amp; more:\r\n<ul><li>now<li>then</ul>\n\n",
		"en-US/video.txt":                         "https://example.org/v?x=1",
		"en-US/changelogs/7.txt":                  "Faster",
		"en-US/changelogs/default.txt":            "Fixes",
		"en-US/changelogs/seven.txt":              "x",
		"en-US/changelogs/007.txt":                "x",
		"en-US/images/icon.png":                   icon,
		"en-US/images/phoneScreenshots/2.jpg":     shot,
		"en-US/images/phoneScreenshots/1.png":     shot, // its content says what it is
		"en-US/images/phoneScreenshots/notes.txt": "x",
		"en-US/images/wearScreenshots/1.png":      string(asPNG(t, picture(384, 384, true))),
		"de_DE/title.txt":                         "Uhr",
		"de_DE/short_description.txt":             "",
		"pt-rBR/title.txt":                        "Relógio",
		"README.md":                               "x",
	})
	made := make(map[mios.Digest][]Picture) // each picture once, for all three
	var mu sync.Mutex
	convert := func(ctx context.Context, in []byte, kind Kind) ([]Picture, error) {
		mu.Lock()
		defer mu.Unlock()
		list, err := made[mios.Sum(in)], error(nil)
		if list == nil {
			list, err = Convert(ctx, in, kind)
			made[mios.Sum(in)] = list
		}
		return slices.Clone(list), err
	}
	for _, root := range []string{"", "metadata/android/", "fastlane/metadata/android/"} {
		deep := make(fstest.MapFS)
		for name, f := range m {
			deep[root+name] = f
		}
		l, problems, err := Read(t.Context(), deep, convert)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := slices.Sorted(maps.Keys(l.Locales)), []string{"de-DE", "en-US", "pt-BR"}; !slices.Equal(got, want) {
			t.Fatalf("locales %v, want %v", got, want)
		}
		en := l.Locales["en-US"]
		if en.Title != "A clock" || en.Short != "Tells the time." || !strings.HasSuffix(en.Full, "</ul>") || strings.Contains(en.Full, "\r") || en.Video == "" {
			t.Errorf("%+v", en)
		}
		if !maps.Equal(en.Changelogs, map[int64]string{7: "Faster", 0: "Fixes"}) {
			t.Errorf("changelogs %v", en.Changelogs)
		}
		var sizes []int
		for _, p := range en.Icon {
			sizes = append(sizes, p.Width)
		}
		if !slices.Equal(sizes, IconSizes) {
			t.Errorf("icons of %v", sizes)
		}
		if s := en.Screenshots[Phone]; len(s) != 2 || s[0].Name != "en-US/images/phoneScreenshots/1.png" || s[0].MIME != "image/jpeg" || s[0].Height != 1600 || s[0].Width != 644 {
			t.Errorf("screenshots %+v", s)
		}
		if s := en.Screenshots[Wear]; len(s) != 1 || s[0].Width != 384 {
			t.Errorf("screenshots of watches %+v", s)
		}
		var files []string
		for _, p := range problems {
			if p.Refuse {
				t.Errorf("refused: %+v", p)
			}
			files = append(files, p.File)
		}
		if root == "" && !slices.Equal(files, []string{"README.md", "en-US/changelogs/007.txt", "en-US/changelogs/seven.txt", "en-US/images/phoneScreenshots/notes.txt"}) {
			t.Errorf("left out: %q", files)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ file, content, want string }{
		"long title":        {"en-US/title.txt", strings.Repeat("ä", 31), "It has 31 characters, at most 30 are allowed."},
		"long short":        {"en-US/short_description.txt", strings.Repeat("x", 81), "at most 80"},
		"long full":         {"en-US/full_description.txt", strings.Repeat("x", 4001), "at most 4000"},
		"long changelog":    {"en-US/changelogs/1.txt", strings.Repeat("x", 501), "at most 500"},
		"huge":              {"en-US/full_description.txt", strings.Repeat("x", 1<<20), "more than 65536 bytes"},
		"two lines":         {"en-US/title.txt", "a\nb", "more than one line"},
		"not UTF-8":         {"en-US/title.txt", "a\xffb", "not in UTF-8"},
		"NUL":               {"en-US/title.txt", "a\x00b", "U+0000"},
		"escape":            {"en-US/full_description.txt", "a\n\x1b[31mb", "Line 2 has the character U+001B"},
		"override":          {"en-US/title.txt", "a\u202eb", "U+202E"},
		"isolate":           {"en-US/full_description.txt", "a\u2067b", "isolate"},
		"HTML in title":     {"en-US/title.txt", "<b>x</b>", `HTML at "<b>x</b>"`},
		"HTML in short":     {"en-US/short_description.txt", "x<script>", "only the full description"},
		"HTML in changelog": {"en-US/changelogs/1.txt", "<!-- x", "HTML at"},
		"script":            {"en-US/full_description.txt", "<script>alert(1)</script>", "the tag <script> is not allowed"},
		"attribute":         {"en-US/full_description.txt", `<b onclick="x">y</b>`, "has attributes"},
		"javascript":        {"en-US/full_description.txt", `<a href="javascript:x">y</a>`, "a link has one href"},
		"two attributes":    {"en-US/full_description.txt", `<a href="https://x.org" onclick="x">y</a>`, "a link has one href"},
		"not nested":        {"en-US/full_description.txt", `<b><i>y</b></i>`, "</b> ends nothing"},
		"never ended":       {"en-US/full_description.txt", `<b>y`, "<b> is never ended"},
		"never closed":      {"en-US/full_description.txt", `x <b`, "does not end"},
		"hidden character":  {"en-US/full_description.txt", `x &#x202e; y`, "U+202E"},
		"video":             {"en-US/video.txt", "javascript:alert(1)", "https://"},
		"video by http":     {"en-US/video.txt", "http://example.org/", "https://"},
		"no locale":         {"english/title.txt", "x", "no locale"},
		"no picture":        {"en-US/images/icon.png", "GIF89a", "no PNG, JPEG or WebP picture"},
		"empty picture":     {"en-US/images/icon.png", "", "no PNG, JPEG or WebP picture"},
		"icon not square":   {"en-US/images/icon.png", string(asPNG(t, picture(100, 90, true))), "it is of 100x90 pixels; it has to be square"},
		"icon too small":    {"en-US/images/icon.png", string(asPNG(t, picture(40, 40, true))), "at least 48"},
		"feature":           {"en-US/images/featureGraphic.png", string(asPNG(t, picture(500, 500, true))), "twice as wide"},
		"narrow screenshot": {"en-US/images/tvScreenshots/1.png", string(asPNG(t, picture(320, 900, true))), "2.5 times"},
	} {
		l, problems, err := Read(t.Context(), folder(map[string]string{tt.file: tt.content, "en-US/x/y": ""}), Convert)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		i := slices.IndexFunc(problems, func(p Problem) bool { return p.Refuse })
		if i < 0 || !strings.Contains(problems[i].Detail, tt.want) || !strings.HasPrefix(tt.file, problems[i].File) || !strings.HasSuffix(problems[i].Detail, ".") {
			t.Errorf("%s: problems %+v, want %q", name, problems, tt.want)
		}
		if en := l.Locales["en-US"]; en != nil && (en.Title+en.Short+en.Full+en.Video != "" || len(en.Changelogs)+len(en.Icon) > 0) {
			t.Errorf("%s: %+v is kept", name, en)
		}
	}
}

// TestLinks shows that a link in a developer's folder leads nowhere.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	for _, d := range []string{"en-US", "en-US/images"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(secret, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"en-US/title.txt", "en-US/images/icon.png", "de-DE"} {
		if err := os.Symlink(secret, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	l, problems, err := Read(t.Context(), os.DirFS(dir), Convert)
	if err != nil || len(l.Locales) != 1 || l.Locales["en-US"].Title != "" {
		t.Errorf("%+v, %v", l, err)
	}
	refused := 0
	for _, p := range problems {
		if p.Refuse {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("problems %+v, want two links refused", problems)
	}
}

func TestReadFails(t *testing.T) {
	boom := errors.New("boom")
	m := folder(map[string]string{"en-US/images/icon.png": "x"})
	convert := func(context.Context, []byte, Kind) ([]Picture, error) { return nil, boom }
	if _, _, err := Read(t.Context(), m, convert); !errors.Is(err, boom) {
		t.Errorf("error %v, want that of the converter", err)
	}
	if _, _, err := Read(t.Context(), os.DirFS(filepath.Join(t.TempDir(), "none")), Convert); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want that there is no folder", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Read(ctx, m, Convert); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	many := make(map[string]string)
	for i := range 60 {
		for j := range MaxScreenshots {
			many[fmt.Sprintf("a%c-%03d/images/tvScreenshots/%d.png", 'a'+i%26, 100+i, j)] = "x"
		}
	}
	big := func(context.Context, []byte, Kind) ([]Picture, error) {
		return []Picture{{Data: make([]byte, 1<<20)}}, nil
	}
	if _, _, err := Read(t.Context(), folder(many), big); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("400 MiB of pictures: error %v, want invalid", err)
	}
}

func TestNormalize(t *testing.T) {
	for in, want := range map[string]string{
		"en-US": "en-US", "EN_us": "en-US", "pt-rBR": "pt-BR", "zh-hans-cn": "zh-Hans-CN", "es-419": "es-419", "iw-IL": "he-IL", "fil": "fil", "de": "de",
		"sr-Latn": "sr-Latn", "ca-ES-valencia": "ca-ES-valencia", "de-1996": "de-1996", "in": "id",
		"": "", "e": "", "english": "", "en-": "", "en-U": "", "en-US-CA": "", "..": "", "en/US": "", "en-US\x00": "", "ключ": "", "en-Latn-Cyrl": "",
		"12": "", strings.Repeat("en-abcde", 9): "",
	} {
		if got, ok := Normalize(in); got != want || ok != (want != "") {
			t.Errorf("Normalize(%q) = %q, %v, want %q", in, got, ok, want)
		}
	}
}

// FuzzNormalize: what is a locale is one as it is written then, and a folder's
// name.
func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"en-US", "pt-rBR", "zh_hans_cn", "iw", "ca-ES-valencia", "de-1996"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		tag, ok := Normalize(in)
		if !ok {
			return
		}
		if again, ok := Normalize(tag); !ok || again != tag || strings.ContainsAny(tag, "/\\. _") {
			t.Errorf("Normalize(%q) = %q, and of that %q, %v", in, tag, again, ok)
		}
	})
}

func TestHTML(t *testing.T) {
	for in, want := range map[string]string{
		"a < b & c\nd":                       "a &lt; b &amp; c<br>\nd",
		"<B>x</B>&lt;i&gt;":                  "<b>x</b>&lt;i&gt;",
		`<a href='https://x.org/?a&b'>x</a>`: `<a href="https://x.org/?a&amp;b" rel="nofollow noopener noreferrer">x</a>`,
		"<script>x</script>":                 "&lt;script&gt;x&lt;/script&gt;",
		"<p>a<p>b":                           "<p>a<p>b",
		"x<br/>y":                            "x<br>y",
	} {
		if got := HTML(in); got != want {
			t.Errorf("HTML(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzHTML: what stands in a page is text and allowed tags, whatever the
// developer wrote.
func FuzzHTML(f *testing.F) {
	for _, s := range []string{"a<b>c</b>", `<a href="https://x.org">y</a>`, "<<b>", "<b/>", "&lt;script&gt;", "<a href=\"mailto:x@y\">"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out := HTML(in)
		rest := out
		for {
			_, after, ok := strings.Cut(rest, "<")
			if !ok {
				break
			}
			tag, after, ok := strings.Cut(after, ">")
			name, attrs, _ := strings.Cut(strings.TrimPrefix(tag, "/"), " ")
			if !ok || !slices.Contains(Tags, name) || attrs != "" && (name != "a" || !strings.HasPrefix(attrs, `href="`) || strings.Count(attrs, `"`) != 4) {
				t.Fatalf("HTML(%q) = %q: tag %q", in, out, tag)
			}
			rest = after
		}
	})
}

func TestConvert(t *testing.T) {
	webp, err := os.ReadFile("testdata/lossy.webp")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		in   []byte
		kind Kind
		want string // of the last picture
	}{
		"large PNG":         {asPNG(t, picture(1604, 642, false)), KindScreenshot, "image/png 1600x640"},
		"opaque PNG":        {asPNG(t, picture(400, 330, true)), KindScreenshot, "image/png 400x330"},
		"JPEG":              {asJPEG(t, picture(400, 330, true)), KindScreenshot, "image/jpeg 400x330"},
		"WebP":              {webp, KindScreenshot, "image/jpeg 400x320"},
		"feature":           {asPNG(t, picture(1030, 400, true)), KindFeature, "image/png 1024x398"},
		"banner":            {asPNG(t, picture(320, 180, true)), KindBanner, "image/png 320x180"},
		"icon of 192":       {asPNG(t, picture(192, 192, true)), KindIcon, "image/png 192x192"},
		"icon of a palette": {asPNG(t, image.NewPaletted(image.Rect(0, 0, 64, 64), color.Palette{color.Black, color.White})), KindIcon, "image/png 48x48"},
	} {
		got, err := Convert(t.Context(), tt.in, tt.kind)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p := got[len(got)-1]
		if s := fmt.Sprintf("%s %dx%d", p.MIME, p.Width, p.Height); s != tt.want {
			t.Errorf("%s: %s, want %s", name, s, tt.want)
		}
		if err := p.Valid(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c, format, err := image.DecodeConfig(bytes.NewReader(p.Data))
		if err != nil || "image/"+format != p.MIME || c.Width != p.Width || c.Height != p.Height {
			t.Errorf("%s: it is a %s of %dx%d, %v", name, format, c.Width, c.Height, err)
		}
		if p.Width*p.Height > 200_000 {
			continue // it takes a while
		}
		again, err := Convert(t.Context(), tt.in, tt.kind)
		if err != nil || again[len(again)-1].SHA256 != p.SHA256 {
			t.Errorf("%s: other bytes the second time", name)
		}
	}
	if _, err := Convert(t.Context(), asPNG(t, picture(64, 64, true)), "poster"); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("a kind that there is not: %v", err)
	}
}

// TestMetadata shows that what a camera or an editor wrote beside the pixels is
// gone.
func TestMetadata(t *testing.T) {
	in := asPNG(t, picture(400, 400, true))
	note := []byte("tEXtComment\x00position: 52.5 N 13.4 E")
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(note)-4))
	chunk = binary.BigEndian.AppendUint32(append(chunk, note...), crc32.ChecksumIEEE(note))
	in = slices.Concat(in[:33], chunk, in[33:])
	got, err := Convert(t.Context(), in, KindScreenshot)
	if err != nil || bytes.Contains(got[0].Data, []byte("position")) {
		t.Errorf("%v, or the note is still there", err)
	}
}

// TestBombs shows that a picture is looked at before it is decoded.
func TestBombs(t *testing.T) {
	in := asPNG(t, picture(512, 512, true))
	for _, size := range [][2]uint32{{1 << 30, 1 << 30}, {8193, 1}, {8000, 8000}, {0, 5}} {
		b := slices.Clone(in)
		binary.BigEndian.PutUint32(b[16:], size[0])
		binary.BigEndian.PutUint32(b[20:], size[1])
		binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Convert(t.Context(), b, KindIcon); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("%d: error %v, want invalid", size, err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%d: %d bytes were allocated", size, n)
		}
	}
}

func TestValid(t *testing.T) {
	list, err := Convert(t.Context(), asPNG(t, picture(64, 64, true)), KindIcon)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Picture){
		"type":   func(p *Picture) { p.MIME = "text/html" },
		"other":  func(p *Picture) { p.MIME = "image/jpeg" },
		"size":   func(p *Picture) { p.Width = 100000 },
		"none":   func(p *Picture) { p.Data = nil },
		"digest": func(p *Picture) { p.SHA256[0]++ },
		"length": func(p *Picture) { p.Size++ },
	} {
		p := list[0]
		if change(&p); !errors.Is(p.Valid(), mios.ErrInvalid) {
			t.Errorf("%s: %v, want invalid", name, p.Valid())
		}
	}
}

func FuzzConvert(f *testing.F) {
	f.Add(asPNG(f, picture(48, 48, false)))
	f.Add(asJPEG(f, picture(48, 48, true)))
	b, err := os.ReadFile("testdata/lossy.webp")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, kind := range []Kind{KindIcon, KindScreenshot} {
			list, err := Convert(t.Context(), in, kind)
			if err != nil && !errors.Is(err, mios.ErrInvalid) {
				t.Errorf("error %v, want invalid", err)
			}
			for i := range list {
				if err := list[i].Valid(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
