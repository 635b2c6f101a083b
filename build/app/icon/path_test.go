package icon

import (
	"context"
	"math"
	"testing"
	"testing/fstest"

	"mios/format/apk"
)

func TestParsePath(t *testing.T) {
	for _, tt := range []struct {
		in  string
		end point // of the pen
		ops int
	}{
		{"M1 2", point{1, 2}, 1},
		{" m1,2,3,4", point{4, 6}, 2},
		{"M1 2L3 4 5 6", point{5, 6}, 3},
		{"M1 2l3 4z", point{1, 2}, 3},
		{"M1 2l3 4zl1 1", point{2, 3}, 5}, // a contour of its own
		{"M1 2H5v-3", point{5, -1}, 3},
		{"M0 0c1 1 2 2 3 3s1 1 2 2", point{5, 5}, 3},
		{"M0 0q1 1 2 0t2 0T6 0", point{6, 0}, 4},
		{"M0 0a1 1 0 0 1 2 0", point{2, 0}, 3},
		{"M.5.5-1-1", point{-1, -1}, 2},
		{"M1e1 1E-1", point{10, 0.1}, 1},
		{"L3 4", point{3, 4}, 2}, // from the origin
		{"M1 1L", point{1, 1}, 1},
		{"M1 1\n\tl+1 +1", point{2, 2}, 2},
	} {
		p, err := parsePath(tt.in)
		if err != nil {
			t.Errorf("parsePath(%q): %v", tt.in, err)
			continue
		}
		end := p.pts[len(p.pts)-1]
		if p.ops[len(p.ops)-1] == closePath {
			end = p.pts[0]
		}
		if end.sub(tt.end).len() > 1e-6 || len(p.ops) != tt.ops {
			t.Errorf("parsePath(%q) = %d segments to %v, want %d to %v", tt.in, len(p.ops), end, tt.ops, tt.end)
		}
	}
	for in, want := range map[string]string{
		"":                 "path data: offset 0: empty",
		"  ":               "path data: offset 0: empty",
		"1 2":              "path data: offset 0: '1' is no command",
		"M1":               "path data: offset 2: want a number",
		"M1 2 3":           "path data: offset 6: want a number",
		"M1 2k":            "path data: offset 4: 'k' is no command",
		"M1 2z3":           "path data: offset 5: '3' is no command",
		"M1 x":             "path data: offset 3: want a number",
		"M1e":              "path data: offset 3: exponent without digits",
		"M1e99 0":          "path data: offset 1: number out of range",
		"M0 0a1 1 0 011 1": "path data: offset 16: want a number", // flags are numbers to Android
		"M0 0\x00":         "path data: offset 4: want a number",
	} {
		if _, err := parsePath(in); err == nil || err.Error() != want {
			t.Errorf("parsePath(%q): %v, want %q", in, err, want)
		}
	}
}

// TestArc wants each point of an arc on its ellipse, and the arc that the
// flags choose.
func TestArc(t *testing.T) {
	for _, tt := range []struct {
		in     string
		center point
		length float64 // of a circle of radius 5
	}{
		{"M0 0A5 5 0 0 1 5 5", point{0, 5}, math.Pi / 2},
		{"M0 0A5 5 0 0 0 5 5", point{5, 0}, math.Pi / 2},
		{"M0 0A5 5 0 1 1 5 5", point{5, 0}, 3 * math.Pi / 2},
		{"M0 0A5 5 90 1 0 5 5", point{0, 5}, 3 * math.Pi / 2},
		{"M0 0A1 1 0 0 1 10 0", point{5, 0}, math.Pi}, // grown until it fits
	} {
		p, err := parsePath(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		c := p.flat(scaling(1, 1), 0.0001)[0]
		for _, q := range c.pts {
			if r := q.sub(tt.center).len(); math.Abs(r-5) > 0.002 {
				t.Errorf("%s: %v is %v from the center", tt.in, q, r)
			}
		}
		if got := length(c) / 5; math.Abs(got-tt.length) > 0.01 {
			t.Errorf("%s: over an angle of %v, want %v", tt.in, got, tt.length)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"M1,1h6v6H1z m1,1 v4h4v-4z", "m1 13a3 2 30 1 1 6 1", "M0 0c1 1 2 2 3 3s1 1 2 2q1 1 2 0t2 0z", "M1e38 1e38L-1e38 0", "M0 0A1e-40 1e38 1e9 1 1 1 1e30"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p, err := parsePath(in)
		if err != nil {
			return
		}
		want := map[op]int{moveTo: 1, lineTo: 1, quadTo: 2, cubicTo: 3}
		n := 0
		for i, o := range p.ops {
			n += want[o]
			if i == 0 && o != moveTo {
				t.Fatalf("%q begins with %d", in, o)
			}
		}
		if n != len(p.pts) {
			t.Fatalf("%q: %d points for %v", in, len(p.pts), p.ops)
		}
		if len(p.ops) > 2000 {
			return
		}
		c := newCanvas(16, &budget{ctx: context.Background()})
		for _, r := range []rule{nonZero, evenOdd, overlapping} {
			if err := c.fill(p, r, solid(0xffff0000)); err != nil && err != errTooMuch {
				t.Fatal(err)
			}
		}
		if err := c.stroke(p, pen{width: 1, miter: 4, join: joinMiter}, nil, solid(0xff00ff00)); err != nil && err != errTooMuch {
			t.Fatal(err)
		}
	})
}

// FuzzDraw draws text XML, of which more mutations mean something than of
// binary: it may draw anything, or nothing, but must end without a panic.
func FuzzDraw(f *testing.F) {
	s := testFiles(f)
	for name, file := range s.files.(fstest.MapFS) {
		if isXML(name) {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<14 {
			return
		}
		if b, err := s.binary(text); err == nil {
			drawFuzzed(t, binarySource{s, b})
		}
	})
}

// FuzzDrawBinary does so with binary XML.
func FuzzDrawBinary(f *testing.F) {
	s := testFiles(f)
	for name := range s.files.(fstest.MapFS) {
		if !isXML(name) {
			continue
		}
		b, err := s.file(name, maxFile)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) <= 1<<14 {
			drawFuzzed(t, binarySource{s, in})
		}
	})
}

func drawFuzzed(t *testing.T, s source) {
	o := Options{}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	d := o.drawing(context.Background(), s, nil)
	d.work = maxWork - 1<<22 // little time is left
	p, err := d.icon(apk.Value{Type: apk.TypeString, Str: "fuzzed.xml"}, 24, false)
	if err == nil && (len(p.Data) == 0 || p.Width != 24) {
		t.Fatalf("%d bytes, %d pixels", len(p.Data), p.Width)
	}
}

// A binarySource has one file more, which is binary XML already.
type binarySource struct {
	*textSource
	b []byte
}

func (s binarySource) file(name string, limit int64) ([]byte, error) {
	if name == "fuzzed.xml" {
		return s.b, nil
	}
	return s.textSource.file(name, limit)
}
