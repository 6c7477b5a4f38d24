package demo

import (
	"bytes"
	"fmt"
	"html/template"
)

// design is a mailing as it was laid out, before it is made for anybody.
func (m *Mailing) design() ([]byte, error) {
	var b bytes.Buffer
	if err := layout.Execute(&b, m); err != nil {
		return nil, fmt.Errorf("lay out %s: %w", m.Name, err)
	}
	return b.Bytes(), nil
}

var layout = template.Must(template.New("mail").Parse(`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{{.Title}}</title>
<style>
body { margin: 0; background: #eef1ec; font-family: Georgia, serif; color: #22301f }
table { border-collapse: collapse } td { padding: 16px 28px } a { color: #1f5d3a } p { line-height: 1.5; margin: 0 0 10px }
</style></head>
<body>
<table role="presentation" width="600" align="center" bgcolor="#ffffff">
<tr><td bgcolor="#1f5d3a"><img src="https://www.fern-and-field.example/mail/masthead.png" width="544" height="90" alt="Fern &amp; Field"></td></tr>
<tr><td><h1>{{.Title}}</h1><p>Dear {{"{{name}}"}},</p></td></tr>
{{range .Links}}{{if not .Hidden}}<tr><td{{if .Advertiser}} bgcolor="#f6efe2"{{end}}>
{{if .Advertiser}}<p><small>Advertisement of {{.Advertiser}}</small></p>{{end}}<h2><a href="{{.URL}}" data-mailbeacon-label="{{.Label}}">{{.Label}}</a></h2>
<p>A few lines say what it is about, and leave the rest to whoever wants to know more.</p></td></tr>
{{end}}{{end}}<tr><td bgcolor="#eef1ec"><p><small>Fern &amp; Field, Lindenweg 4. <a href="{{"{{unsubscribe}}"}}" data-mailbeacon="off">Your choices</a></small></p></td></tr>
</table>
</body>
</html>
`))
