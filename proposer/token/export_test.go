package token

// Kids returns the key ids of a key set that count.
func Kids(b []byte) ([]string, error) {
	set, _, err := parseKeySet(b)
	if err != nil {
		return nil, err
	}
	var kids []string
	for kid := range set.keys {
		kids = append(kids, kid)
	}
	return kids, nil
}
