package icon

import "mios/format/apk"

// A Shape is the outline that a device gives adaptive icons.
type Shape string

// The shapes that AOSP's devices use (config_icon_mask and its overlays).
const (
	ShapeRounded  Shape = "rounded" // a square with slightly round corners, AOSP's default
	ShapeCircle   Shape = "circle"
	ShapeSquircle Shape = "squircle" // between circle and square
	ShapeSquare   Shape = "square"
)

// Shapes are all of them.
var Shapes = []Shape{ShapeRounded, ShapeCircle, ShapeSquircle, ShapeSquare}

// outline is the shape in r; nil: none is known by that name.
func (s Shape) outline(r rect) *path {
	switch s {
	case ShapeRounded:
		v := r.width() * 0.08
		return roundRect(r, corners{v, v, v, v})
	case ShapeCircle:
		return ellipse(r)
	case ShapeSquare:
		return roundRect(r, corners{})
	case ShapeSquircle:
		return squircle(r)
	}
	return nil
}

// squircle bends each quarter of the outline so that it leaves its side late.
func squircle(r rect) *path {
	c := r.center()
	m := translation(c.x, c.y).then(scaling(r.width()/2, r.height()/2))
	const bend = 0.8
	p := new(path)
	p.add(moveTo, m.apply(point{0, -1}))
	from := point{0, -1}
	for range 4 {
		to := from.turned()
		p.add(cubicTo, m.apply(from.add(to.mul(bend))), m.apply(to.add(from.mul(bend))), m.apply(to))
		from = to
	}
	p.add(closePath)
	return p
}

// An adaptiveDrawable is a background and a foreground under a mask, AOSP's
// AdaptiveIconDrawable: layers of 108dp of which the 72dp in the middle show.
type adaptiveDrawable struct {
	plain
	layers []drawable
	shape  Shape
}

const (
	layerDP    = 108
	viewportDP = 72
)

func (d *drawing) adaptive(e *apk.Element) drawable {
	out := &adaptiveDrawable{shape: d.mask}
	for _, name := range []string{"background", "foreground"} {
		found := false
		for _, c := range e.Children {
			if c.Name == name && !found {
				found = true
				if of := d.child(c); of != nil {
					out.layers = append(out.layers, of)
				}
			}
		}
		if !found {
			d.miss("<adaptive-icon> without <%s>", name)
		}
	}
	if len(out.layers) == 0 {
		return nil
	}
	return out
}

func (d *adaptiveDrawable) size() (w, h float64) { return viewportDP, viewportDP }

func (d *adaptiveDrawable) draw(c *canvas, in rect) error {
	x, y := in.width()*(layerDP-viewportDP)/viewportDP/2, in.height()*(layerDP-viewportDP)/viewportDP/2
	room := in.inset(sides{-x, -y, -x, -y})
	return c.masked(d.shape.outline(in), func(c *canvas) error {
		if err := c.fill(roundRect(in, corners{}), nonZero, solid(0xff000000)); err != nil {
			return err // what layers leave open is black
		}
		for _, of := range d.layers {
			if err := of.draw(c, room); err != nil {
				return err
			}
		}
		return nil
	})
}
