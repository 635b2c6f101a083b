package apk

import "strings"

// Regions whose language follows another region's: of English, Spanish,
// Portuguese, Arabic and traditional Chinese, as CLDR's parentLocales
// (supplementalData.xml) and with it AOSP's LocaleDataTables.cpp have them.
const (
	childrenOf001   = " 150 AG AI AU BB BE BM BS BW BZ CA CC CK CM CX CY DG DM ER FJ FK FM GB GD GG GH GI GM GY HK IE IL IM IN IO JE JM KE KI KN KY LC LR LS MG MO MS MT MU MV MW MY NA NF NG NR NU NZ PG PH PK PN PW RW SB SC SD SG SH SL SS SX SZ TC TK TO TT TV TZ UG VC VG VU WS ZA ZM ZW "
	childrenOf150   = " AT CH DE DK FI NL SE SI "
	childrenOf419   = " AR BO BR CL CO CR CU DO EC GT HN MX NI PA PE PR PY SV US UY VE "
	childrenOfPT    = " AO CH CV GQ GW LU MO MZ ST TL "
	childrenOf015   = " DZ EH LY MA TN "
	maxLocaleParent = 4
)

// parentRegion returns the region that this one's language follows: "" is the
// language without a region, whose parent is nothing.
func parentRegion(lang, script, region string) (parent string, ok bool) {
	in := func(list string) bool { return strings.Contains(list, " "+region+" ") }
	switch {
	case region == "":
		return "", false
	case lang == "en" && in(childrenOf150):
		return "150", true
	case lang == "en" && in(childrenOf001):
		return "001", true
	case lang == "es" && in(childrenOf419):
		return "419", true
	case lang == "pt" && in(childrenOfPT):
		return "PT", true
	case lang == "ar" && in(childrenOf015):
		return "015", true
	case lang == "zh" && script == "Hant" && region == "MO":
		return "HK", true
	}
	return "", true
}

// ancestors returns the region and those that its language follows, up to the
// language without a region.
func ancestors(lang, script, region string) []string {
	list := make([]string, 1, maxLocaleParent)
	list[0] = region
	for {
		parent, ok := parentRegion(lang, script, region)
		if !ok {
			return list
		}
		list, region = append(list, parent), parent
	}
}

// nearAmerican reports whether English there does not follow International
// English (en-001).
func nearAmerican(country [2]byte) bool {
	for _, a := range ancestors("en", "Latn", unpack(country, '0')) {
		if a == "001" {
			return false
		}
	}
	return true
}

// mainRegions are where a language has most of its speakers, by CLDR.
const mainRegions = " af-ZA ak-GH am-ET ar-EG as-IN az-AZ be-BY bg-BG bm-ML bn-BD bo-CN br-FR bs-BA ca-ES ce-RU cs-CZ cy-GB da-DK de-DE dz-BT ee-GH el-GR en-GB en-US es-ES et-EE eu-ES fa-IR ff-SN fi-FI fil-PH fo-FO fr-FR fy-NL ga-IE gd-GB gl-ES gu-IN ha-NG he-IL hi-IN hr-HR hu-HU hy-AM id-ID ig-NG in-ID is-IS it-IT iw-IL ja-JP jv-ID ka-GE ki-KE kk-KZ km-KH kn-IN ko-KR kok-IN ky-KG lb-LU lg-UG ln-CD lo-LA lt-LT lu-CD lv-LV mg-MG mk-MK ml-IN mn-MN mr-IN ms-MY mt-MT my-MM nb-NO nd-ZW ne-NP nl-NL nn-NO no-NO om-ET or-IN os-GE pa-IN pa-PK pl-PL ps-AF pt-BR qu-PE rm-CH rn-BI ro-RO ru-RU rw-RW sd-PK se-NO sg-CF si-LK sk-SK sl-SI sn-ZW so-SO sq-AL sr-RS sv-SE sw-TZ ta-IN te-IN tg-TJ th-TH ti-ET tk-TM to-TO tr-TR tt-RU ug-CN uk-UA ur-PK uz-UZ vi-VN wo-SN yo-NG zh-CN zh-TW zu-ZA "

// compareRegions returns a number above 0 if a resource for region a suits the
// request better than one for region b: AOSP's localeDataCompareRegions
// (androidfw/LocaleData.cpp).
func compareRegions(a, b [2]byte, want *Config) int {
	if a == b {
		return 0
	}
	lang, script := unpack(want.Language, 'a'), text(want.Script[:])
	left, right := unpack(a, '0'), unpack(b, '0')
	if lang == "es" { // of the United States and of Mexico stand for Latin America
		special := func(r string) bool { return r == "US" || r == "MX" }
		if special(left) && !special(right) && right != "419" {
			left = "419"
		} else if special(right) && !special(left) && left != "419" {
			right = "419"
		}
	}
	wanted := ancestors(lang, script, unpack(want.Country, '0'))
	for _, r := range wanted {
		switch r {
		case left:
			return 1
		case right:
			return -1
		}
	}
	if d := distance(lang, script, right, wanted) - distance(lang, script, left, wanted); d != 0 {
		return d
	}
	main := func(region string) bool { return strings.Contains(mainRegions, " "+lang+"-"+region+" ") }
	if main(left) != main(right) {
		if main(left) {
			return 1
		}
		return -1
	}
	return regionCode(right) - regionCode(left) // for want of better: two letters, in their order, then digits
}

// distance counts the steps from region over the first common ancestor to the
// wanted one.
func distance(lang, script, region string, wanted []string) int {
	for up, r := range ancestors(lang, script, region) {
		for down, w := range wanted {
			if r == w {
				return up + down
			}
		}
	}
	return 2 * maxLocaleParent
}

// regionCode returns the number by which AOSP sorts regions.
func regionCode(region string) int {
	if region == "" {
		return 0
	}
	b := pack(region, '0')
	return int(b[0])<<8 | int(b[1])
}
