package jid

import "unicode"

// printable is ASCII from the space to the tilde.
var printable = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x20, Hi: 0x7e, Stride: 1}}, LatinOffset: 1}
