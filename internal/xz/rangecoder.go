package xz

// A prob is the probability that a bit is 0, in 1/2048.
type prob uint16

const (
	probBits  = 11
	probStart = 1 << (probBits - 1)
	moveBits  = 5
	topValue  = 1 << 24
)

// A rangeEncoder writes bits by their probabilities.
type rangeEncoder struct {
	low   uint64
	width uint32
	cache byte
	held  int // bytes that a carry may still change, the cached one included
	out   []byte
}

func (r *rangeEncoder) reset() {
	r.low, r.width, r.cache, r.held, r.out = 0, 0xffffffff, 0, 1, r.out[:0]
}

// size is how many bytes there would be after a flush.
func (r *rangeEncoder) size() int { return len(r.out) + r.held + 4 }

func (r *rangeEncoder) shift() {
	if uint32(r.low) < 0xff000000 || r.low>>32 != 0 {
		carry := byte(r.low >> 32)
		b := r.cache
		for ; r.held > 0; r.held-- {
			r.out = append(r.out, b+carry)
			b = 0xff
		}
		r.cache = byte(r.low >> 24)
	}
	r.held++
	r.low = uint64(uint32(r.low) << 8)
}

func (r *rangeEncoder) flush() {
	for range 5 {
		r.shift()
	}
}

func (r *rangeEncoder) bit(p *prob, bit uint32) {
	v := *p
	bound := (r.width >> probBits) * uint32(v)
	if bit == 0 {
		r.width = bound
		*p = v + (1<<probBits-v)>>moveBits
	} else {
		r.low += uint64(bound)
		r.width -= bound
		*p = v - v>>moveBits
	}
	if r.width < topValue {
		r.width <<= 8
		r.shift()
	}
}

// direct writes n bits of v, each as likely 0 as 1.
func (r *rangeEncoder) direct(v uint32, n uint) {
	for n > 0 {
		n--
		r.width >>= 1
		r.low += uint64(r.width & -(v >> n & 1))
		if r.width < topValue {
			r.width <<= 8
			r.shift()
		}
	}
}

// tree writes the n bits of v, the highest first.
func (r *rangeEncoder) tree(probs []prob, v uint32, n uint) {
	m := uint32(1)
	for n > 0 {
		n--
		b := v >> n & 1
		r.bit(&probs[m], b)
		m = m<<1 | b
	}
}

// reverse writes the n bits of v, the lowest first.
func (r *rangeEncoder) reverse(probs []prob, v uint32, n uint) {
	m := uint32(1)
	for ; n > 0; n-- {
		b := v & 1
		r.bit(&probs[m], b)
		m = m<<1 | b
		v >>= 1
	}
}

// bitPrices are what bits cost, in 1/16 bit, by the probability's upper bits.
var bitPrices = func() (t [1 << probBits >> 4]uint32) {
	for i := uint32(8); i < 1<<probBits; i += 16 {
		w, n := i, uint32(0)
		for range 4 {
			w *= w
			n <<= 1
			for w >= 1<<16 {
				w >>= 1
				n++
			}
		}
		t[i>>4] = probBits<<4 - 15 - n
	}
	return t
}()

func price(p prob, bit uint32) uint32 {
	return bitPrices[((uint32(p)^(-bit&(1<<probBits-1)))>>4)&127]
}

func price0(p prob) uint32 { return bitPrices[(p>>4)&127] }
func price1(p prob) uint32 { return bitPrices[((p^(1<<probBits-1))>>4)&127] }

func treePrice(probs []prob, v uint32, n uint) (sum uint32) {
	v |= 1 << n
	for v > 1 {
		sum += price(probs[v>>1], v&1)
		v >>= 1
	}
	return sum
}

func reversePrice(probs []prob, v uint32, n uint) (sum uint32) {
	m := uint32(1)
	for ; n > 0; n-- {
		b := v & 1
		v >>= 1
		sum += price(probs[m], b)
		m = m<<1 | b
	}
	return sum
}
