package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
)

// maxStderr bounds what an error shows of a program's standard error, in
// bytes from its end.
const maxStderr = 500

// externalSource is data "external": the standard output of a program, as it
// is. A relative working_dir is relative to the working directory, as in Atlas.
func externalSource(ctx context.Context, b *dataBlock) (cty.Value, error) {
	program, dir := b.d.strs(b.block.Body, "program"), b.str("working_dir")
	if !b.ok() {
		return cty.NilVal, nil
	}
	if len(program.Value) == 0 || program.Value[0] == "" {
		return cty.NilVal, errors.New(`it needs program = ["name", "argument", …]`)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program.Value[0], program.Value[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	// A child that keeps the pipes open must not hold us after the deadline.
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctxErr := ctx.Err(); ctxErr != nil {
			err = ctxErr
		}
		text := strings.TrimSpace(stderr.String())
		if len(text) > maxStderr {
			text = "…" + text[len(text)-maxStderr:]
		}
		if text != "" {
			text = ": " + strings.ToValidUTF8(text, "?")
		}
		return cty.NilVal, fmt.Errorf("running %s: %w%s", program.Value[0], err, text)
	}
	out := stdout.String()
	b.secret(out)
	return cty.StringVal(out), nil
}

// goValue turns a value into what templates work with: string, int64,
// float64, bool, []any, map[string]any or nil.
func goValue(v cty.Value) any {
	if v.IsNull() || !v.IsKnown() {
		return nil
	}
	switch t := v.Type(); {
	case t == cty.String:
		return v.AsString()
	case t == cty.Bool:
		return v.True()
	case t == cty.Number:
		if i, exact := v.AsBigFloat().Int64(); exact == 0 {
			return i
		}
		f, _ := v.AsBigFloat().Float64()
		return f
	case t.IsMapType() || t.IsObjectType():
		m := make(map[string]any)
		for k, e := range v.AsValueMap() {
			m[k] = goValue(e)
		}
		return m
	case t.IsListType() || t.IsSetType() || t.IsTupleType():
		list := make([]any, 0, v.LengthInt())
		for _, e := range v.AsValueSlice() {
			list = append(list, goValue(e))
		}
		return list
	}
	return nil
}
