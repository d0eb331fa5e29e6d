-- name: InventoryPagePut :exec
INSERT INTO inventory_pages (cluster_id, session_epoch, inventory_sequence, page, content)
VALUES (@cluster_id, @session_epoch, @inventory_sequence, @page, @content)
ON CONFLICT (cluster_id, session_epoch, inventory_sequence, page) DO UPDATE SET content = EXCLUDED.content;

-- name: InventoryPages :many
SELECT page, content FROM inventory_pages
WHERE cluster_id = @cluster_id AND session_epoch = @session_epoch AND inventory_sequence = @inventory_sequence
ORDER BY page;

-- name: InventoryPagesClear :exec
DELETE FROM inventory_pages WHERE cluster_id = @cluster_id;
