package testbed

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

func get(ctx context.Context, h host, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := h.client().Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return string(body), err
}

// metric reads a counter, summed over the series whose labels hold label.
func metric(ctx context.Context, h host, url, name, label string) (float64, error) {
	body, err := get(ctx, h, url)
	if err != nil {
		return 0, err
	}
	sum, found := 0.0, false
	for _, l := range strings.Split(body, "\n") {
		series, value, ok := strings.Cut(l, " ")
		base, labels, _ := strings.Cut(series, "{")
		if !ok || base != name || !strings.Contains(labels, label) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("%s has no metric %s", url, name)
	}
	return sum, nil
}
