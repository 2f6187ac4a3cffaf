package httpsig

import (
	"fmt"
	"strings"

	"github.com/dunglas/httpsfv"
)

// Base returns the signature base (RFC 9421 section 2.5) for the covered
// components and parameters of params, in their order. Values are given by
// component name; for a component with parameters the name is its serialised
// identifier, such as `"@query-param";name="Pet"`.
//
//	"@method": POST
//	"@path": /v1/requests
//	"@signature-params": ("@method" "@path");created=1618884473;keyid="k"
func Base(params httpsfv.InnerList, values map[string]string) ([]byte, error) {
	var out strings.Builder
	seen := map[string]bool{}
	for _, item := range params.Items {
		name, identifier, err := component(item)
		if err != nil {
			return nil, err
		}
		if seen[identifier] {
			return nil, fmt.Errorf("%w: component %s stands twice", ErrMalformed, identifier)
		}
		seen[identifier] = true
		value, ok := values[name]
		if !ok {
			return nil, fmt.Errorf("%w: the message has no component %s", ErrCoverage, identifier)
		}
		if err := checkValue(value); err != nil {
			return nil, err
		}
		out.WriteString(identifier + ": " + value + "\n")
	}
	list, err := httpsfv.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	out.WriteString(`"@signature-params": ` + list)
	return []byte(out.String()), nil
}

// component returns the name under which values are looked up, and the
// serialised identifier that opens the component's line.
func component(item httpsfv.Item) (name, identifier string, err error) {
	name, ok := item.Value.(string)
	if !ok || name == "" || name == "@signature-params" || name != strings.ToLower(name) {
		return "", "", fmt.Errorf("%w: component is not a lower-case name", ErrMalformed)
	}
	identifier, err = httpsfv.Marshal(item)
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(item.Params.Names()) > 0 {
		name = identifier
	}
	return name, identifier, nil
}
