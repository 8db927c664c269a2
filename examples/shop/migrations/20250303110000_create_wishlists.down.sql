-- Wishlists are lost; nothing else refers to them.

DROP TABLE wishlist_items;

DROP TABLE wishlists;
