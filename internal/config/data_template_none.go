//go:build aurora_notemplates

package config

import (
	"context"
	"errors"

	"github.com/zclconf/go-cty/cty"
)

// templateDirSource is for programs without text/template, which keeps the
// linker from leaving out methods.
func templateDirSource(context.Context, *dataBlock) (cty.Value, error) {
	return cty.NilVal, errors.New("this bundle has no templates; build it with --templates")
}
