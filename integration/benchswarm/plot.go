package main

import (
	"fmt"
	"os"
	"strings"
)

// chart is a plot of lines, as SVG.
type chart struct {
	title, x, y string
	maxX, maxY  float64
	stepX       float64 // between two marks of an axis
	stepY       float64
	lines       []line
}

type line struct {
	name   string // "" is not named
	colour string
	points [][2]float64
	width  float64
}

// Size of a plot, and the margins around it, in pixels.
const (
	plotWidth, plotHeight          = 640, 300
	left, top, bottom, rightMargin = 56, 36, 44, 130
)

func (c chart) at(x, y float64) (float64, float64) {
	return left + x/c.maxX*plotWidth, top + plotHeight - y/c.maxY*plotHeight
}

func (c chart) svg() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		left+plotWidth+rightMargin, top+plotHeight+bottom)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><text x="%d" y="20" font-size="14">%s</text>`+"\n", left, c.title)
	for x := 0.0; x <= c.maxX*1.001; x += c.stepX {
		px, _ := c.at(x, 0)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%g</text>`+"\n", px, top+plotHeight+16, x)
	}
	for y := 0.0; y <= c.maxY*1.001; y += c.stepY {
		_, py := c.at(0, y)
		fmt.Fprintf(&b, `<path d="M%d %.1fh%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#555">%g</text>`+"\n", left, py, plotWidth, left-6, py+4, y)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n", left+plotWidth/2, top+plotHeight+36, c.x)
	fmt.Fprintf(&b, `<text transform="translate(14 %d) rotate(-90)" text-anchor="middle" fill="#555">%s</text>`+"\n", top+plotHeight/2, c.y)
	for _, l := range c.lines {
		var path strings.Builder
		to := "M" // move to the first, then draw a line to each
		for _, p := range l.points {
			px, py := c.at(p[0], p[1])
			fmt.Fprintf(&path, "%s%.1f %.1f", to, px, py)
			to = "L"
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="%g"/>`+"\n", path.String(), l.colour, l.width)
		if l.name != "" && len(l.points) > 0 {
			px, py := c.at(l.points[len(l.points)-1][0], l.points[len(l.points)-1][1])
			fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="%s">%s</text>`+"\n", px+6, py+4, l.colour, l.name)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// piecesOverTime plots what each node holds during a run.
func piecesOverTime(r row) chart {
	samples := r.outcome.samples
	pieces := 1
	for _, s := range samples {
		for _, h := range s.Held {
			pieces = max(pieces, h)
		}
	}
	end := samples[len(samples)-1].At
	c := chart{
		title: fmt.Sprintf("%d nodes, %d MiB, %d Mbit/s: pieces over time", r.scenario.Nodes, r.scenario.Bytes/mib, r.scenario.Rate/1e6),
		x:     "seconds", y: "pieces held", maxX: max(end, r.baseline.bound.Seconds()) * 1.02, maxY: float64(pieces) * 1.02,
		stepX: nice(end), stepY: nice(float64(pieces)),
	}
	for k := range r.scenario.Nodes {
		l := line{colour: fmt.Sprintf("hsl(%d 60%% 45%%)", 360*k/r.scenario.Nodes), width: 1}
		for _, s := range samples {
			l.points = append(l.points, [2]float64{s.At, float64(s.Held[k])})
		}
		c.lines = append(c.lines, l)
	}
	bound := r.baseline.bound.Seconds()
	c.lines = append(c.lines, line{name: "one node alone", colour: "#888", width: 2, points: [][2]float64{{0, 0}, {bound, float64(pieces)}}})
	return c
}

// ratioOverNodes plots the last node ÷ bound of runs that differ in N.
func ratioOverNodes(rows []row) chart {
	c := chart{
		title: fmt.Sprintf("%d MiB, %d Mbit/s: last node ÷ one node alone", rows[0].scenario.Bytes/mib, rows[0].scenario.Rate/1e6),
		x:     "nodes", y: "× the bound",
	}
	shoal, direct, cached := line{name: "Shoal", colour: "#06c", width: 2}, line{name: "registry", colour: "#c30", width: 2}, line{name: "cache", colour: "#e90", width: 2}
	for _, r := range rows {
		n := float64(r.scenario.Nodes)
		c.maxX, c.maxY = max(c.maxX, n), max(c.maxY, r.last(), r.baseline.direct, r.baseline.cache)
		shoal.points = append(shoal.points, [2]float64{n, r.last()})
		if r.baseline.direct > 0 {
			direct.points = append(direct.points, [2]float64{n, r.baseline.direct})
			cached.points = append(cached.points, [2]float64{n, r.baseline.cache})
		}
	}
	c.stepX, c.stepY = nice(c.maxX), nice(c.maxY)
	c.lines = []line{shoal, direct, cached}
	return c
}

// nice is a round distance between at most eight marks of an axis up to limit.
func nice(limit float64) float64 {
	for step := 1.0; ; step *= 10 {
		for _, f := range []float64{1, 2, 5} {
			if limit <= 8*step*f {
				return step * f
			}
		}
	}
}

func (c chart) save(path string) error { return os.WriteFile(path, []byte(c.svg()), 0o644) }
