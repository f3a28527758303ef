"""``{% load connected_accounts_parts %}``: parts of which a page has many alike, rendered once."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.template.base import FilterExpression, Node, NodeList, Parser, Token, token_kwargs

register = template.Library()


class _Kept(Node):
    """A node that keeps what it has rendered, for as long as one page is made."""

    def kept(self, context: template.Context) -> dict[Any, str]:
        # Where ``include`` keeps the templates that it has found, too.
        found: dict[Any, Any] = context.render_context.dicts[0]
        return found.setdefault(_Kept, {})  # type: ignore[no-any-return]


class OnceNode(_Kept):
    def __init__(self, nodelist: NodeList) -> None:
        self.nodelist = nodelist

    def render(self, context: template.Context) -> str:
        kept = self.kept(context)
        if self not in kept:
            kept[self] = self.nodelist.render(context)
        return kept[self]


class PartNode(_Kept):
    def __init__(self, name: FilterExpression, values: Mapping[str, FilterExpression]) -> None:
        self.name, self.values = name, values

    def render(self, context: template.Context) -> str:
        values = [expression.resolve(context) for expression in self.values.values()]
        kept, key = self.kept(context), (self, *values)
        if key not in kept:
            engine = context.template.engine  # type: ignore[union-attr]
            found = engine.get_template(self.name.resolve(context))
            kept[key] = found.render(context.new(dict(zip(self.values, values, strict=True))))
        return kept[key]


@register.tag
def once(parser: Parser, token: Token) -> OnceNode:
    """Render the content, up to ``endonce``, once for a page: it is alike each time."""
    nodelist = parser.parse(("endonce",))
    parser.delete_first_token()
    return OnceNode(nodelist)


@register.tag
def part(parser: Parser, token: Token) -> PartNode:
    """As ``include``, for a template that depends on ``values`` alone, which are hashable: the same
    values are rendered once for a page, however often they come."""
    _tag, name, *values = token.split_contents()
    return PartNode(parser.compile_filter(name), token_kwargs(values, parser))
