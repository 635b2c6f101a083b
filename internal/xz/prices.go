package xz

// lenSymbols is how many lengths there are.
const lenSymbols = maxLen - minLen + 1

// prices are what lengths and distances cost, in 1/16 bit. They are computed anew
// after so many uses.
type prices struct {
	match, rep [posStates][lenSymbols]uint32
	slot       [lenStates][64]uint32
	near       [lenStates][fullDistances]uint32
	align      [1 << alignBits]uint32
}

const (
	slotEvery  = 128
	alignEvery = 16
	lenEvery   = 64
)

func (l *lenCoder) prices(t *[posStates][lenSymbols]uint32) {
	a0, a1 := price0(l.choice), price1(l.choice)
	b0, b1 := a1+price0(l.choice2), a1+price1(l.choice2)
	for ps := range posStates {
		for i := range uint32(8) {
			t[ps][i] = a0 + treePrice(l.low[ps][:], i, 3)
			t[ps][8+i] = b0 + treePrice(l.mid[ps][:], i, 3)
		}
	}
	for i := uint32(16); i < lenSymbols; i++ {
		p := b1 + treePrice(l.high[:], i-16, 8)
		for ps := range posStates {
			t[ps][i] = p
		}
	}
}

// update computes those prices again that are no longer right.
func (p *prices) update(c *coder) {
	if c.lenUses >= lenEvery {
		c.lenUses = 0
		c.matchLen.prices(&p.match)
	}
	if c.repLenUse >= lenEvery {
		c.repLenUse = 0
		c.repLen.prices(&p.rep)
	}
	if c.alignUses >= alignEvery {
		c.alignUses = 0
		for i := range uint32(1 << alignBits) {
			p.align[i] = reversePrice(c.align[:], i, alignBits)
		}
	}
	if c.slotUses >= slotEvery {
		c.slotUses = 0
		p.distances(c)
	}
}

func (p *prices) distances(c *coder) {
	var tail [fullDistances]uint32
	for d := uint32(4); d < fullDistances; d++ {
		slot := slotOf(d)
		foot := uint(slot>>1) - 1
		base := (2 | slot&1) << foot
		tail[d] = reversePrice(c.special[base-slot:], d-base, foot)
	}
	for ls := range lenStates {
		for slot := range uint32(64) {
			t := treePrice(c.slot[ls][:], slot, 6)
			if slot >= endModel {
				t += uint32(slot>>1-1-alignBits) << 4
			}
			p.slot[ls][slot] = t
		}
		for d := range uint32(fullDistances) {
			p.near[ls][d] = p.slot[ls][slotOf(d)] + tail[d]
		}
	}
}

// distance returns what a distance less one costs for a match of that length.
func (p *prices) distance(d, n uint32) uint32 {
	ls := lenState(n)
	if d < fullDistances {
		return p.near[ls][d]
	}
	return p.slot[ls][slotOf(d)] + p.align[d&(1<<alignBits-1)]
}
