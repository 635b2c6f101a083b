package icon

import (
	"strings"

	"mios/format/apk"
)

// A drawable is something that fills a rectangle.
type drawable interface {
	// size is its natural width and height in dp; negative: it has none.
	size() (w, h float64)
	// padding is how far inside what is drawn over it should stay.
	padding() sides
	draw(c *canvas, in rect) error
}

// plain is the part of drawables that have neither size nor padding.
type plain struct{}

func (plain) size() (w, h float64) { return -1, -1 }
func (plain) padding() sides       { return sides{} }

// enter reads a file of XML, and makes it the one that what is missing is
// noted for; leave ends that. It returns nil, which is noted, if it cannot be.
func (d *drawing) enter(name string) (e *apk.Element, leave func()) {
	was := d.file
	d.file = name
	if d.depth++; d.depth > maxDepth {
		d.miss("more than %d resources in each other", maxDepth)
	} else if b, err := d.src.file(name, apk.MaxManifest); err != nil {
		d.miss("%v", err)
	} else if e, err = apk.ParseXML(b); err != nil {
		d.miss("%v", err)
	}
	leave = func() { d.file = was; d.depth-- }
	if e == nil {
		leave()
	}
	return e, leave
}

// drawable turns a value into a drawable, or notes why not and returns nil.
func (d *drawing) drawable(v apk.Value) drawable {
	v, density, ok := d.resolve(v)
	switch {
	case !ok:
		return nil
	case isColor(v):
		return colorDrawable{color: solid(v.Data)}
	case v.Type == apk.TypeString && isXML(v.Str):
		e, leave := d.enter(v.Str)
		if e == nil {
			return nil
		}
		defer leave()
		return d.inflate(e)
	case v.Type == apk.TypeString:
		return d.bitmapFile(v.Str, density)
	case v.Type == apk.TypeNull:
		return nil
	}
	d.miss("%q is no drawable", v.String())
	return nil
}

// inflate turns an element into a drawable, or notes why not and returns nil.
func (d *drawing) inflate(e *apk.Element) drawable {
	if d.drawables++; d.drawables > maxDrawables {
		d.miss("more than %d drawables", maxDrawables)
		return nil
	}
	if d.depth++; d.depth > maxDepth {
		d.miss("more than %d drawables in each other", maxDepth)
		return nil
	}
	defer func() { d.depth-- }()
	a := attrs{d, e}
	switch e.Name {
	case "vector":
		return d.vector(e)
	case "adaptive-icon":
		return d.adaptive(e)
	case "shape":
		return d.shape(e)
	case "layer-list", "ripple":
		return d.layers(e)
	case "transition":
		return d.layers(&apk.Element{Name: e.Name, Attrs: e.Attrs, Children: items(e)[:min(1, len(items(e)))]})
	case "bitmap", "nine-patch":
		return d.bitmap(e)
	case "color":
		if c, ok := a.color(attrColor); ok {
			return colorDrawable{color: c}
		}
		return nil
	case "inset":
		return d.inset(e)
	case "rotate":
		return d.rotate(e)
	case "animated-vector", "animated-rotate":
		return d.child(e) // as it is before the animation begins
	case "selector", "animated-selector", "level-list", "animation-list":
		return d.choice(e)
	case "clip", "scale":
		d.miss("<%s> shows what its program's level says", e.Name)
		return nil
	}
	d.miss("<%s> is not known, or a class of the app's own", e.Name)
	return nil
}

// items are the children named item.
func items(e *apk.Element) []*apk.Element {
	var out []*apk.Element
	for _, c := range e.Children {
		if c.Name == "item" {
			out = append(out, c)
		}
	}
	return out
}

// child is the drawable that an element's attribute or child gives it.
func (d *drawing) child(e *apk.Element) drawable {
	if at := e.Res(attrDrawable); at != nil {
		return d.drawable(at.Value)
	}
	for _, c := range e.Children {
		switch c.Name {
		case "target", "aapt:attr":
			continue
		}
		return d.inflate(c)
	}
	d.miss("<%s> without a drawable", e.Name)
	return nil
}

// choice is the item that is shown in no state, at level 0, at the beginning.
func (d *drawing) choice(e *apk.Element) drawable {
	for _, item := range items(e) {
		a := attrs{d, item}
		_, wanted := statesOf(item)
		switch {
		case wanted && strings.HasSuffix(e.Name, "selector"):
		case e.Name == "level-list" && (a.int(attrMinLevel, 0) > 0 || a.int(attrMaxLevel, 0) < 0):
		default:
			return d.child(item)
		}
	}
	d.miss("<%s> shows nothing in no state and at level 0", e.Name)
	return nil
}

// A colorDrawable is one color everywhere.
type colorDrawable struct {
	plain
	color solid
}

func (d colorDrawable) draw(c *canvas, in rect) error {
	return c.fill(roundRect(in, corners{}), nonZero, d.color)
}

// An insetDrawable draws another one smaller.
type insetDrawable struct {
	of                       drawable
	left, top, right, bottom portion
}

func (d *drawing) inset(e *apk.Element) drawable {
	of := d.child(e)
	if of == nil {
		return nil
	}
	a := attrs{d, e}
	all := a.portion(attrInset, portion{})
	return &insetDrawable{of,
		a.portion(attrInsetLeft, all), a.portion(attrInsetTop, all),
		a.portion(attrInsetRight, all), a.portion(attrInsetBottom, all)}
}

func (d *insetDrawable) size() (w, h float64) {
	w, h = d.of.size()
	grown := func(v float64, a, b portion) float64 {
		if rest := 1 - a.of - b.of; v >= 0 && rest > 0 {
			return v/rest + a.dp + b.dp
		}
		return -1
	}
	return grown(w, d.left, d.right), grown(h, d.top, d.bottom)
}

func (d *insetDrawable) padding() sides {
	return d.of.padding().add(sides{d.left.dp, d.top.dp, d.right.dp, d.bottom.dp})
}

func (d *insetDrawable) draw(c *canvas, in rect) error {
	w, h := in.width(), in.height()
	in = in.inset(sides{d.left.in(w), d.top.in(h), d.right.in(w), d.bottom.in(h)})
	if in.empty() {
		return nil
	}
	return d.of.draw(c, in)
}

// A rotateDrawable draws another one turned.
type rotateDrawable struct {
	of      drawable
	degrees float64
	x, y    portion // of the pivot
}

func (d *drawing) rotate(e *apk.Element) drawable {
	of := d.child(e)
	if of == nil {
		return nil
	}
	a := attrs{d, e}
	half := portion{of: 0.5}
	return &rotateDrawable{of, a.float(attrFromDegrees, 0), a.portion(attrPivotX, half), a.portion(attrPivotY, half)}
}

func (d *rotateDrawable) size() (w, h float64) { return d.of.size() }
func (d *rotateDrawable) padding() sides       { return d.of.padding() }

func (d *rotateDrawable) draw(c *canvas, in rect) error {
	x, y := in.left+d.x.in(in.width()), in.top+d.y.in(in.height())
	return d.of.draw(c.with(translation(x, y).then(rotation(d.degrees)).then(translation(-x, -y))), in)
}
