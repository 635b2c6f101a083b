package icon

import (
	"math"

	"mios/format/apk"
)

// A shapeDrawable is a rectangle, oval, line or ring, AOSP's GradientDrawable.
type shapeDrawable struct {
	kind       int
	w, h       float64 // dp; negative: as large as the room
	pad        sides
	radii      corners
	fill       solid
	gradient   *shapeGradient // in the place of fill, or nil
	hasFill    bool
	stroke     pen
	strokeWith solid
	hasStroke  bool
	tint       *tint
	alpha      float64

	innerRadius, thickness           float64 // of a ring; negative: by the ratios
	innerRadiusRatio, thicknessRatio float64
}

// The kinds of shapes, with Android's numbers.
const (
	shapeRectangle = iota
	shapeOval
	shapeLine
	shapeRing
)

// A shapeGradient is a gradient whose place the shape's size gives.
type shapeGradient struct {
	kind    int
	angle   int // degrees against the clock, a multiple of 45
	centerX float64
	centerY float64
	radius  portion // of the shorter side
	stops   []stop
}

func (d *drawing) shape(e *apk.Element) drawable {
	a := attrs{d, e}
	s := &shapeDrawable{
		kind: a.int(attrShape, shapeRectangle), w: -1, h: -1, tint: a.tint(), alpha: a.float(attrAlpha, 1),
		innerRadius: a.length(attrInnerRadius, -1), thickness: a.length(attrThickness, -1),
		innerRadiusRatio: a.float(attrInnerRadiusRatio, 3), thicknessRatio: a.float(attrThicknessRatio, 9),
	}
	if a.has(attrTint) && s.tint == nil {
		return nil // what its colors are is not known
	}
	for _, c := range e.Children {
		a := attrs{d, c}
		switch c.Name {
		case "size":
			s.w, s.h = a.length(attrWidth, -1), a.length(attrHeight, -1)
		case "padding":
			s.pad = sides{a.length(attrLeft, 0), a.length(attrTop, 0), a.length(attrRight, 0), a.length(attrBottom, 0)}
		case "solid":
			s.fill, s.hasFill = a.color(attrColor)
			s.gradient = nil
		case "corners":
			r := a.length(attrRadius, 0)
			s.radii = corners{
				a.length(attrTopLeftRadius, r), a.length(attrTopRightRadius, r),
				a.length(attrBottomRightRad, r), a.length(attrBottomLeftRadius, r),
			}
		case "stroke":
			s.strokeWith, s.hasStroke = a.color(attrColor)
			s.stroke = pen{width: max(0, a.length(attrWidth, 0)), miter: 4,
				dash: a.length(attrDashWidth, 0), gap: a.length(attrDashGap, 0)}
		case "gradient":
			s.gradient, s.hasFill = a.shapeGradient(), true
		default:
			d.miss("<shape>: <%s> is not known", c.Name)
		}
	}
	return s
}

func (a attrs) shapeGradient() *shapeGradient {
	g := &shapeGradient{
		kind:    a.int(attrType, gradientLinear),
		centerX: a.portion(attrCenterX, portion{of: 0.5}).fraction(),
		centerY: a.portion(attrCenterY, portion{of: 0.5}).fraction(),
		radius:  portion{of: 0.5},
	}
	g.angle = ((a.int(attrAngle, 0) % 360) + 360) % 360
	if g.angle%45 != 0 {
		a.d.miss("<gradient> with an angle of %d°, which is no multiple of 45", g.angle)
	}
	if a.has(attrGradientRadius) {
		g.radius = a.portion(attrGradientRadius, g.radius)
	} else if g.kind == gradientRadial {
		a.d.miss("<gradient>: radial without gradientRadius")
	}
	middle := g.centerX
	if middle == 0.5 {
		middle = g.centerY
	}
	g.stops = a.threeStops(clamp(middle, 0, 1))
	if g.kind != gradientLinear {
		g.stops = a.threeStops(0.5)
	}
	return g
}

// fraction is a portion that may be written as a number: "0.5" or "50%".
func (p portion) fraction() float64 {
	if p.of != 0 {
		return p.of
	}
	return p.dp
}

// paint is the gradient for a shape that fills r.
func (g *shapeGradient) paint(r rect) *gradient {
	c := point{r.left + r.width()*g.centerX, r.top + r.height()*g.centerY}
	out := &gradient{kind: g.kind, center: c, stops: g.stops, fade: 1}
	out.radius = max(0.001, g.radius.in(min(r.width(), r.height())))
	x0, y0, x1, y1 := r.left, r.top, r.left, r.top
	if g.angle < 90 || g.angle > 270 {
		x1 = r.right
	} else if g.angle > 90 && g.angle < 270 {
		x0 = r.right
	}
	if g.angle > 0 && g.angle < 180 {
		y0 = r.bottom
	} else if g.angle > 180 {
		y1 = r.bottom
	}
	out.from, out.to = point{x0, y0}, point{x1, y1}
	return out
}

func (s *shapeDrawable) size() (w, h float64) { return s.w, s.h }
func (s *shapeDrawable) padding() sides       { return s.pad }

func (s *shapeDrawable) draw(c *canvas, in rect) error {
	return c.layer(s.alpha, s.tint, func(c *canvas) error {
		r := in
		if s.hasStroke {
			r = in.inset(allSides(s.stroke.width / 2))
		}
		if r.empty() {
			return nil
		}
		outline, fillRule := s.outline(r)
		if s.hasFill && s.kind != shapeLine {
			var with paint = s.fill
			if s.gradient != nil {
				with = s.gradient.paint(r)
			}
			if err := c.fill(outline, fillRule, with); err != nil {
				return err
			}
		}
		if s.hasStroke {
			return c.stroke(outline, s.stroke, nil, s.strokeWith)
		}
		return nil
	})
}

// outline is the shape in r.
func (s *shapeDrawable) outline(r rect) (*path, rule) {
	switch s.kind {
	case shapeOval:
		return ellipse(r), nonZero
	case shapeLine:
		p, y := new(path), r.center().y
		p.add(moveTo, point{r.left, y})
		p.add(lineTo, point{r.right, y})
		return p, nonZero
	case shapeRing:
		inner, thick := s.innerRadius, s.thickness
		if inner < 0 {
			inner = r.width() / s.innerRadiusRatio
		}
		if thick < 0 {
			thick = r.width() / s.thicknessRatio
		}
		around := func(radius float64) rect {
			c := r.center()
			return rect{c.x - radius, c.y - radius, c.x + radius, c.y + radius}
		}
		p, hole := ellipse(around(inner+thick)), ellipse(around(inner))
		p.ops, p.pts = append(p.ops, hole.ops...), append(p.pts, hole.pts...)
		return p, evenOdd
	}
	radii := s.radii
	half := min(r.width(), r.height()) / 2
	for i, v := range radii {
		if v == radii[0] && radii == (corners{v, v, v, v}) {
			radii[i] = math.Min(v, half)
		}
	}
	return roundRect(r, radii), nonZero
}
