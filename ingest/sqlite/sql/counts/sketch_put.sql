INSERT INTO sketches (campaign, link, kind, class, sketch) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (campaign, link, kind, class) DO UPDATE SET sketch = excluded.sketch
