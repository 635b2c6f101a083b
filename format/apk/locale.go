package apk

import (
	"strings"
	"sync"
)

// SetLocale sets the locale to a BCP 47 tag, "" for none, as AOSP's
// ResTable_config::setBcp47Locale does: a script that the tag does not name
// follows from the language. It reports whether the tag is well formed; if not,
// nothing is set.
func (c *Config) SetLocale(tag string) bool {
	n := *c
	n.Language, n.Country, n.Script, n.Variant = [2]byte{}, [2]byte{}, [4]byte{}, [8]byte{}
	n.NumberingSystem, n.ScriptComputed = [8]byte{}, false
	if tag == "" {
		*c = n
		return true
	}
	tag, extension, _ := strings.Cut(tag, "-u-")
	for i, part := range strings.Split(tag, "-") {
		if !n.setSubtag(part, i == 0) {
			return false
		}
	}
	if keys := strings.Split(extension, "-"); len(keys) >= 2 && strings.EqualFold(keys[0], "nu") && len(keys[1]) <= 8 {
		copy(n.NumberingSystem[:], strings.ToLower(keys[1]))
	}
	if n.Script[0] == 0 {
		n.ScriptComputed = true
		n.Script = likelyScript(n.Language, n.Country)
	}
	*c = n
	return true
}

func (c *Config) setSubtag(s string, isFirst bool) bool {
	for i := range len(s) {
		if b := s[i] | 0x20; (b < 'a' || b > 'z') && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	digit := len(s) > 0 && s[0] <= '9'
	switch {
	case isFirst:
		if len(s) != 2 && len(s) != 3 || digit {
			return false
		}
		c.Language = pack(strings.ToLower(s), 'a')
	case len(s) == 2 && !digit, len(s) == 3 && digit:
		c.Country = pack(strings.ToUpper(s), '0')
	case len(s) == 4 && !digit:
		copy(c.Script[:], strings.ToUpper(s[:1])+strings.ToLower(s[1:]))
	case len(s) >= 4 && len(s) <= 8:
		copy(c.Variant[:], strings.ToLower(s))
	default:
		return false
	}
	return true
}

// scripts lists, for each script, the languages that are written in it, as
// Unicode's CLDR (likelySubtags.xml) has them. A language with a region is an
// exception of it.
var scripts = map[string]string{
	"Arab": "ar bal ckb fa ks ku-LB lrc mzn ps sd ug ur az-IR az-IQ kk-AF kk-CN kk-IR ky-CN pa-PK tk-IR uz-AF uz-CN ms-CC ms-ID ha-CM ha-SD",
	"Armn": "hy",
	"Beng": "as bn mni",
	"Cans": "cr iu",
	"Cher": "chr",
	"Cyrl": "ab av az-RU ba be bg ce cv kk kv ku-AM ky mk mn os ru sah sr tg tt uk",
	"Deva": "bho brx doi gom hi kok mai mr ne sa",
	"Ethi": "am ti",
	"Geor": "ka",
	"Grek": "el",
	"Gujr": "gu",
	"Guru": "pa",
	"Hans": "zh yue-CN",
	"Hant": "zh-AU zh-BN zh-GB zh-GF zh-HK zh-ID zh-MO zh-MY zh-PA zh-PF zh-PH zh-SR zh-TH zh-TW zh-US zh-VN yue",
	"Hebr": "he iw ji yi",
	"Jpan": "ja",
	"Khmr": "km",
	"Knda": "kn",
	"Kore": "ko",
	"Laoo": "lo",
	"Latn": "aa af agq ak asa ast ay az bas bem bez bi bm br bs ca ceb cgg ch co cs cy da dav de dje dsb dua dyo ebu ee en eo es et eu ewo ff fi fil fj fo fr fur fy ga gd gl gn gsw guz gv ha haw hmn ho hr hsb ht hu hz ia id ie ig ik in io is it jgo jmc jv kab kam kde kea kg khq ki kj kl kln ksb ksf ksh ku kw ky-TR la lag lb lg li lkt ln lt lu luo luy lv mas mer mfe mg mgh mgo mh mi ms mt mua na naq nb nd nds ng nl nmg nn no nr nso nus nv ny nyn oc om pap pl pt qu rm rn ro rof rw rwk saq sbp sc se seh ses sg sk sl sm smn sn so sq sr-ME sr-RO sr-TR ss st su sv sw swc tk tl tn to tr ts twq ty tzm uz ve vi vo vun wa wae wo xh xog yav yo za zu",
	"Mlym": "ml",
	"Mong": "mn-CN",
	"Mymr": "my",
	"Olck": "sat",
	"Orya": "or",
	"Sinh": "si",
	"Taml": "ta",
	"Telu": "te",
	"Tfng": "zgh shi",
	"Thaa": "dv",
	"Thai": "th",
	"Tibt": "bo dz",
	"Yiii": "ii",
	"~~~A": "en-XA", // not to be mixed with real ones
	"~~~B": "ar-XB",
}

// likelyScripts is scripts the other way round.
var likelyScripts = sync.OnceValue(func() map[string]string {
	m := make(map[string]string)
	for script, list := range scripts {
		for lang := range strings.SplitSeq(list, " ") {
			m[lang] = script
		}
	}
	return m
})

// likelyScript returns the script that the language is written in there, or
// zeros if it is not known.
func likelyScript(language, country [2]byte) (script [4]byte) {
	lang := unpack(language, 'a')
	s, ok := likelyScripts()[lang+"-"+unpack(country, '0')]
	if !ok {
		s = likelyScripts()[lang]
	}
	copy(script[:], s)
	return script
}

var (
	langEnglish  = pack("en", 'a')
	langTagalog  = pack("tl", 'a')
	langFilipino = pack("fil", 'a')
	countryUS    = pack("US", '0')
)

// sameLanguage holds Tagalog and Filipino for one.
func sameLanguage(a, b [2]byte) bool {
	return a == b || a == langTagalog && b == langFilipino || a == langFilipino && b == langTagalog
}

// matchLocale compares languages and scripts; regions only if a script is not
// known.
func (c *Config) matchLocale(want *Config) bool {
	if c.Language[0] == 0 && c.Country[0] == 0 {
		return true
	}
	if !sameLanguage(c.Language, want.Language) {
		return false
	}
	if want.Script[0] != 0 {
		script := c.Script
		if script[0] == 0 {
			script = likelyScript(c.Language, c.Country)
		}
		if script[0] != 0 {
			return script == want.Script
		}
	}
	return c.Country[0] == 0 || c.Country == want.Country
}

// localeBetterThan is AOSP's isLocaleBetterThan: both match the request.
func (c *Config) localeBetterThan(o, want *Config) bool {
	if want.Language[0] == 0 && want.Country[0] == 0 || c.Language == o.Language && c.Country == o.Country && c.Language[0] == 0 {
		return false
	}
	if !sameLanguage(c.Language, o.Language) { // one of them is for any language
		if want.Language != langEnglish {
			return c.Language[0] != 0
		}
		// Resources for any language are American English, by tradition.
		american := func(country [2]byte) bool { return country[0] == 0 || country == countryUS }
		if want.Country != countryUS {
			if !nearAmerican(want.Country) {
				return c.Language[0] != 0
			}
			american = nearAmerican
		}
		if c.Language[0] != 0 {
			return american(c.Country)
		}
		return !american(o.Country)
	}
	if d := compareRegions(c.Country, o.Country, want); d != 0 {
		return d > 0
	}
	if a, b := c.Variant == want.Variant, o.Variant == want.Variant; a != b {
		return a
	}
	if a, b := c.NumberingSystem == want.NumberingSystem, o.NumberingSystem == want.NumberingSystem; a != b {
		return a
	}
	return c.Language == want.Language && o.Language != want.Language
}
