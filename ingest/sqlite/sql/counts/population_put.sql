INSERT INTO populations (campaign, opens, clicks, sketch) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (campaign, opens, clicks) DO UPDATE SET sketch = excluded.sketch
