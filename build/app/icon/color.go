package icon

import (
	"strings"

	"mios/format/apk"
)

// paint turns a resolved value into a color or gradient; nil, which is noted,
// if it is none.
func (d *drawing) paint(v apk.Value) paint {
	switch {
	case isColor(v):
		return solid(v.Data)
	case v.Type == apk.TypeString && isXML(v.Str):
		return d.paintFile(v.Str)
	case v.Type == apk.TypeIntDec || v.Type == apk.TypeIntHex:
		return solid(v.Data)
	}
	d.miss("%q is no color", v.String())
	return nil
}

// paintFile reads a file of res/color.
func (d *drawing) paintFile(name string) (out paint) {
	e, leave := d.enter(name)
	if e == nil {
		return nil
	}
	defer leave()
	switch e.Name {
	case "selector":
		return d.stateColor(e)
	case "gradient":
		if g := d.gradient(e); g != nil {
			return g
		}
		return nil
	}
	d.miss("<%s> is no color", e.Name)
	return nil
}

// stateColor returns the color of a list for a view that is in no state, as
// AOSP's ColorStateList does.
func (d *drawing) stateColor(list *apk.Element) paint {
	var first, plain, chosen *apk.Element
	for _, e := range list.Children {
		if e.Name != "item" {
			continue
		}
		if first == nil {
			first = e
		}
		states, wanted := statesOf(e)
		if states == 0 {
			plain = e
		}
		if chosen == nil && !wanted {
			chosen = e
		}
	}
	for _, e := range []*apk.Element{chosen, plain, first} {
		if e == nil {
			continue
		}
		a := attrs{d, e}
		for _, at := range e.Attrs {
			if at.Name == "lStar" {
				d.miss("a color's lStar is not known here: it is drawn without")
			}
		}
		c, ok := a.color(attrColor)
		if !ok {
			return nil
		}
		return c.withAlpha(a.float(attrAlpha, 1))
	}
	d.miss("a list of colors without one")
	return nil
}

// statesOf counts the states that an item is for, and says whether one of them
// has to be on.
func statesOf(e *apk.Element) (n int, wanted bool) {
	for _, a := range e.Attrs {
		if strings.HasPrefix(a.Name, "state_") {
			n++
			wanted = wanted || a.Value.Data != 0
		}
	}
	return n, wanted
}

// gradient reads a gradient of res/color, in the coordinates of what it paints.
func (d *drawing) gradient(e *apk.Element) *gradient {
	a := attrs{d, e}
	g := &gradient{
		kind:   a.int(attrType, gradientLinear),
		tile:   a.int(attrTileMode, tileClamp),
		from:   point{a.float(attrStartX, 0), a.float(attrStartY, 0)},
		to:     point{a.float(attrEndX, 0), a.float(attrEndY, 0)},
		center: point{a.float(attrCenterX, 0), a.float(attrCenterY, 0)},
		radius: a.float(attrGradientRadius, 0),
		fade:   1,
	}
	for _, item := range e.Children {
		if item.Name != "item" {
			continue
		}
		i := attrs{d, item}
		c, ok := i.color(attrColor)
		if !ok {
			return nil
		}
		at := clamp(i.float(attrOffset, 0), 0, 1)
		if n := len(g.stops); n > 0 {
			at = max(at, g.stops[n-1].at)
		}
		g.stops = append(g.stops, stop{at, c})
	}
	if len(g.stops) < 2 {
		g.stops = a.threeStops(0.5)
	}
	if g.kind == gradientRadial && g.radius <= 0 {
		d.miss("a radial gradient without gradientRadius")
		return nil
	}
	return g
}

// threeStops are those of startColor, centerColor and endColor.
func (a attrs) threeStops(middle float64) []stop {
	start, _ := a.color(attrStartColor)
	end, _ := a.color(attrEndColor)
	out := []stop{{0, start}, {1, end}}
	if a.has(attrCenterColor) {
		center, _ := a.color(attrCenterColor)
		out = []stop{{0, start}, {middle, center}, {1, end}}
	}
	return out
}
