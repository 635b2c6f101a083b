package icon

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os/exec"
	"strings"
	"testing"

	"mios/format/apk"
	"mios/internal/tool"
)

// rsvg draws an SVG with librsvg, which shares nothing with this package.
func rsvg(t *testing.T, svg string) image.Image {
	t.Helper()
	prog, err := tool.Look("rsvg-convert")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(prog, "--format=png")
	cmd.Stdin = strings.NewReader(svg)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("rsvg-convert: %v: %s\n%s", err, errs.Bytes(), svg)
	}
	img, err := png.Decode(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// An svgWriter turns the elements of a vector into SVG, path data as it is.
type svgWriter struct {
	d    *drawing
	b    strings.Builder
	ids  int
	tint *tint
}

// vectorSVG returns a vector as SVG of w times h pixels, or why it has no equal
// there.
func vectorSVG(d *drawing, e *apk.Element, w, h int) (svg, why string) {
	s := &svgWriter{d: d}
	a := attrs{d, e}
	if s.tint = a.tint(); s.tint != nil && s.tint.mode != modeSrcIn {
		return "", "a tint mode"
	}
	fmt.Fprintf(&s.b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %g %g" preserveAspectRatio="none">`+"\n",
		w, h, a.float(attrViewportWidth, 0), a.float(attrViewportHeight, 0))
	fmt.Fprintf(&s.b, `<g opacity="%g">`, a.float(attrAlpha, 1))
	why = s.group(e)
	s.b.WriteString("</g></svg>")
	return s.b.String(), why
}

func (s *svgWriter) group(e *apk.Element) (why string) {
	clips := 0
	for _, c := range e.Children {
		a := attrs{s.d, c}
		switch c.Name {
		case "group":
			x, y := a.float(attrPivotX, 0), a.float(attrPivotY, 0)
			fmt.Fprintf(&s.b, `<g transform="translate(%g %g) rotate(%g) scale(%g %g) translate(%g %g)">`,
				x+a.float(attrTranslateX, 0), y+a.float(attrTranslateY, 0), a.float(attrRotation, 0),
				a.float(attrScaleX, 1), a.float(attrScaleY, 1), -x, -y)
			if w := s.group(c); w != "" {
				why = w
			}
			s.b.WriteString("</g>\n")
		case "clip-path":
			s.ids++
			clips++
			fmt.Fprintf(&s.b, `<clipPath id="c%d"><path d="%s"/></clipPath><g clip-path="url(#c%d)">`, s.ids, a.text(attrPathData), s.ids)
		case "path":
			if a.has(attrTrimPathStart) || a.has(attrTrimPathEnd) {
				why = "a trimmed path"
			}
			s.path(a)
		}
	}
	s.b.WriteString(strings.Repeat("</g>", clips))
	return why
}

func (s *svgWriter) path(a attrs) {
	fill := s.color("fill", a.paint(attrFillColor), a.float(attrFillAlpha, 1))
	stroke := s.color("stroke", a.paint(attrStrokeColor), a.float(attrStrokeAlpha, 1))
	fmt.Fprintf(&s.b, `<path d="%s" %s %s fill-rule="%s" stroke-width="%g" stroke-linecap="%s" stroke-linejoin="%s" stroke-miterlimit="%g"/>`+"\n",
		a.text(attrPathData), fill, stroke, []string{"nonzero", "evenodd"}[a.int(attrFillType, 0)],
		a.float(attrStrokeWidth, 0), []string{"butt", "round", "square"}[a.int(attrStrokeLineCap, 0)],
		[]string{"miter", "round", "bevel"}[a.int(attrStrokeLineJoin, 0)], a.float(attrStrokeMiterLimit, 4))
}

func (s *svgWriter) color(what string, p paint, alpha float64) string {
	switch p := p.(type) {
	case solid:
		if s.tint != nil {
			alpha *= p.alpha()
			p = s.tint.color
		}
		return fmt.Sprintf(`%s="#%06x" %s-opacity="%g"`, what, uint32(p)&0xffffff, what, alpha*p.alpha())
	case *gradient:
		s.ids++
		name := "linearGradient"
		place := fmt.Sprintf(`x1="%g" y1="%g" x2="%g" y2="%g"`, p.from.x, p.from.y, p.to.x, p.to.y)
		if p.kind == gradientRadial {
			name, place = "radialGradient", fmt.Sprintf(`cx="%g" cy="%g" r="%g"`, p.center.x, p.center.y, p.radius)
		}
		fmt.Fprintf(&s.b, `<%s id="g%d" gradientUnits="userSpaceOnUse" %s spreadMethod="%s">`,
			name, s.ids, place, []string{"pad", "repeat", "reflect"}[p.tile])
		for _, st := range p.stops {
			fmt.Fprintf(&s.b, `<stop offset="%g" stop-color="#%06x" stop-opacity="%g"/>`, st.at, uint32(st.color)&0xffffff, st.color.alpha())
		}
		fmt.Fprintf(&s.b, "</%s>\n", name)
		return fmt.Sprintf(`%s="url(#g%d)" %s-opacity="%g"`, what, s.ids, what, alpha)
	}
	return what + `="none"`
}

// differ returns by how much two pictures differ: the mean over all channels,
// and the part of the pixels that differ by more than a quarter, which only
// edges may.
func differ(a, b image.Image) (mean, far float64) {
	r := a.Bounds()
	n := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			worst := 0.0
			p, q := channels(a, x, y), channels(b, x, y)
			for i := range p {
				d := p[i] - q[i]
				if d < 0 {
					d = -d
				}
				worst = max(worst, d)
				mean += d
			}
			if worst > 0.25 {
				n++
			}
		}
	}
	pixels := float64(r.Dx() * r.Dy())
	return mean / pixels / 4, float64(n) / pixels
}

// channels are the premultiplied ones of a pixel, 0 to 1.
func channels(img image.Image, x, y int) [4]float64 {
	r, g, b, a := img.At(x, y).RGBA()
	return [4]float64{float64(r) / 0xffff, float64(g) / 0xffff, float64(b) / 0xffff, float64(a) / 0xffff}
}
