package dashboard

import "encoding/json"

// board is as much of Grafana's schema as the dashboard uses.
type board struct {
	Title         string   `json:"title"`
	UID           string   `json:"uid"`
	Description   string   `json:"description"`
	Tags          []string `json:"tags"`
	SchemaVersion int      `json:"schemaVersion"`
	Version       int      `json:"version"`
	Editable      bool     `json:"editable"`
	GraphTooltip  int      `json:"graphTooltip"`
	Refresh       string   `json:"refresh"`
	Timezone      string   `json:"timezone"`
	Time          struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"time"`
	Links       []json.RawMessage `json:"links"`
	Annotations struct {
		List []annotation `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []choice `json:"list"`
	} `json:"templating"`
	Panels []panel `json:"panels"`
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// annotation is drawn over all panels where its query is above 0.
type annotation struct {
	Name            string `json:"name"`
	Datasource      source `json:"datasource"`
	Enable          bool   `json:"enable"`
	IconColor       string `json:"iconColor"`
	Expr            string `json:"expr"`
	Step            string `json:"step"`
	TitleFormat     string `json:"titleFormat"`
	TextFormat      string `json:"textFormat"`
	TagKeys         string `json:"tagKeys"`
	UseValueForTime bool   `json:"useValueForTime"`
}

// choice is a variable that the viewer chooses.
type choice struct {
	Name       string            `json:"name"`
	Label      string            `json:"label"`
	Type       string            `json:"type"`
	Datasource source            `json:"datasource"`
	Definition string            `json:"definition"`
	Query      json.RawMessage   `json:"query"` // its form depends on the type
	Refresh    int               `json:"refresh"`
	Sort       int               `json:"sort"`
	Hide       int               `json:"hide"`
	IncludeAll bool              `json:"includeAll"`
	Multi      bool              `json:"multi"`
	Options    []json.RawMessage `json:"options"`
	Regex      string            `json:"regex"`
}

// panel is a panel, or the title of a row of them.
type panel struct {
	ID          int               `json:"id"`
	Type        string            `json:"type"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Collapsed   bool              `json:"collapsed"`
	Panels      []json.RawMessage `json:"panels"`
	Datasource  source            `json:"datasource"`
	GridPos     struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	} `json:"gridPos"`
	Interval    string          `json:"interval"`
	FieldConfig json.RawMessage `json:"fieldConfig"` // how it is drawn
	Options     json.RawMessage `json:"options"`
	Targets     []target        `json:"targets"`
}

type target struct {
	RefID        string `json:"refId"`
	Datasource   source `json:"datasource"`
	Expr         string `json:"expr"`
	LegendFormat string `json:"legendFormat"`
	Range        bool   `json:"range"`
	Instant      bool   `json:"instant"`
}
