package icon

import (
	"math"

	"mios/format/apk"
)

// A vectorDrawable is a picture of paths, AOSP's VectorDrawable
// (frameworks/base, libs/hwui/VectorDrawable.cpp).
type vectorDrawable struct {
	plain
	w, h         float64 // dp
	viewW, viewH float64
	alpha        float64
	tint         *tint
	root         vectorGroup
}

// A vectorGroup is a list of what is drawn in the same coordinates.
type vectorGroup struct {
	m     matrix
	parts []vectorPart // in order
}

// A vectorPart is one of: a group, a clip for what follows, a path.
type vectorPart struct {
	group *vectorGroup
	clip  *path
	path  *vectorPath
}

// A vectorPath is a path with its colors.
type vectorPath struct {
	outline      *path
	rule         rule
	fill, stroke paint // nil: none
	pen          pen
	trim         func([]contour) []contour
}

func (d *drawing) vector(e *apk.Element) drawable {
	a := attrs{d, e}
	v := &vectorDrawable{
		w: a.length(attrWidth, 0), h: a.length(attrHeight, 0),
		viewW: a.float(attrViewportWidth, 0), viewH: a.float(attrViewportHeight, 0),
		alpha: a.float(attrAlpha, 1), tint: a.tint(),
	}
	if !(v.w > 0 && v.h > 0 && v.viewW > 0 && v.viewH > 0) {
		d.miss("<vector> of %gx%gdp with a viewport of %gx%g", v.w, v.h, v.viewW, v.viewH)
		return nil
	}
	if a.has(attrTint) && v.tint == nil {
		return nil // what its colors are is not known
	}
	v.root = vectorGroup{scaling(1, 1), d.vectorParts(e)}
	return v
}

func (d *drawing) vectorParts(e *apk.Element) []vectorPart {
	var out []vectorPart
	for _, c := range e.Children {
		a := attrs{d, c}
		switch c.Name {
		case "group":
			out = append(out, vectorPart{group: &vectorGroup{a.groupMatrix(), d.vectorParts(c)}})
		case "clip-path":
			p := a.path()
			if p == nil {
				return out // what follows is not to be seen as it would be drawn
			}
			out = append(out, vectorPart{clip: p})
		case "path":
			if p := a.vectorPath(); p != nil {
				out = append(out, vectorPart{path: p})
			}
		default:
			d.miss("<vector>: <%s> is not known", c.Name)
		}
	}
	return out
}

func (a attrs) groupMatrix() matrix {
	x, y := a.float(attrPivotX, 0), a.float(attrPivotY, 0)
	return translation(a.float(attrTranslateX, 0)+x, a.float(attrTranslateY, 0)+y).
		then(rotation(a.float(attrRotation, 0))).
		then(scaling(a.float(attrScaleX, 1), a.float(attrScaleY, 1))).
		then(translation(-x, -y))
}

// path reads pathData; nil, which is noted, if there is none or it is wrong.
func (a attrs) path() *path {
	s := a.text(attrPathData)
	if s == "" {
		if a.e.Name == "clip-path" {
			a.d.miss("<clip-path> without pathData")
		}
		return nil
	}
	p, err := parsePath(s)
	if err != nil {
		a.d.miss("<%s>: %v", a.e.Name, err)
		return nil
	}
	return p
}

func (a attrs) vectorPath() *vectorPath {
	p := a.path()
	if p == nil {
		return nil
	}
	v := &vectorPath{outline: p, fill: a.paint(attrFillColor), stroke: a.paint(attrStrokeColor)}
	if v.fill != nil {
		v.fill = v.fill.faded(a.float(attrFillAlpha, 1))
	}
	if a.int(attrFillType, 0) == 1 {
		v.rule = evenOdd
	}
	if v.stroke != nil {
		v.stroke = v.stroke.faded(a.float(attrStrokeAlpha, 1))
		v.pen = pen{
			width: max(0, a.float(attrStrokeWidth, 0)),
			cap:   a.int(attrStrokeLineCap, capButt), join: a.int(attrStrokeLineJoin, joinMiter),
			miter: a.float(attrStrokeMiterLimit, 4),
		}
	}
	from, to, by := a.float(attrTrimPathStart, 0), a.float(attrTrimPathEnd, 1), a.float(attrTrimPathOffset, 0)
	if from != 0 || to != 1 {
		v.trim = func(cs []contour) []contour { return trimmed(cs, from, to, by) }
	}
	return v
}

// trimmed returns the part of the first contour from and to fractions of its
// length, both moved by an offset; the others are left out, as Android does.
func trimmed(cs []contour, from, to, by float64) []contour {
	if len(cs) == 0 || from == to {
		return nil
	}
	c := cs[0]
	total := length(c)
	start, end := total*math.Mod(from+by, 1), total*math.Mod(to+by, 1)
	if start > end {
		return []contour{part(c, start, total), part(c, 0, end)}
	}
	return []contour{part(c, start, end)}
}

func (v *vectorDrawable) size() (w, h float64) { return v.w, v.h }

func (v *vectorDrawable) draw(c *canvas, in rect) error {
	m := translation(in.left, in.top).then(scaling(in.width()/v.viewW, in.height()/v.viewH))
	return c.layer(v.alpha, v.tint, func(c *canvas) error {
		c, err := c.clippedTo(in)
		if err != nil {
			return err
		}
		return v.root.draw(c.with(m))
	})
}

func (g *vectorGroup) draw(c *canvas) (err error) {
	c = c.with(g.m)
	for _, p := range g.parts {
		switch {
		case p.group != nil:
			err = p.group.draw(c)
		case p.clip != nil:
			c, err = c.clipped(p.clip)
		default:
			err = p.path.draw(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *vectorPath) draw(c *canvas) error {
	if p.fill != nil {
		cs := p.outline.flat(c.m, flatness)
		if p.trim != nil {
			cs = p.trim(cs)
		}
		if err := c.fillFlat(cs, p.rule, p.fill); err != nil {
			return err
		}
	}
	if p.stroke != nil {
		return c.stroke(p.outline, p.pen, p.trim, p.stroke)
	}
	return nil
}
