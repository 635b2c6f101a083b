package image

import "embed"

// core holds what every device of base core has in its system image.
//
//go:embed core
var core embed.FS
