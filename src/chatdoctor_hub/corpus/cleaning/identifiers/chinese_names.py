"""Rules for Chinese names: a surname with a title, a name in an introduction."""

from __future__ import annotations

import re
from collections.abc import Iterator

from chatdoctor_hub.corpus.cleaning.identifiers.name_words import read_words
from chatdoctor_hub.corpus.cleaning.identifiers.view import HAN, Rule, Span, View, has_any

__all__ = ["CHINESE_NAME_RULES"]

# The most frequent surnames, without those that are common as the end of another word before a title
# ("由于医生", "经常", "问", "和", "时", "向", "有") where no exception below can tell them apart.
_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田"
    "任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易武乔贺赖龚文庞樊兰殷施陶洪翟颜倪严牛温芦季俞章鲁葛伍"
    "韦申尤毕聂焦梅裴管祝左关柳甄瞿骆路阮蓝闫肖苗滕匡"
)
_DOUBLE = "欧阳|司马|上官|诸葛|司徒|东方|皇甫|尉迟|慕容|令狐|夏侯|公孙|长孙|南宫"
_TITLE = "(?:副?主任医师|副?主任|主治医师|主治|医生|医师|大夫|教授|护士长|护士|院长|博士|先生|女士|小姐|药师)"
_TITLED = re.compile(rf"(?P<name>{_DOUBLE}|[{_SURNAMES}]){_TITLE}")
_FULL = re.compile(
    rf"(?:^|(?<=[\s,.!?;:，。！？；：、（(“\"])|(?<=[叫是找由请问])|(?<=你好)|(?<=您好)|(?<=谢谢)|(?<=感谢))"
    rf"(?P<name>(?:{_DOUBLE}|[{_SURNAMES}])[{HAN}]{{1,2}}){_TITLE}"
)
# What makes a surname the end or the beginning of another word.
_BEFORE = {
    "谢": "谢感多答",
    "于": "由对关至终",
    "周": "一上下本两每几二三四五六整半单双这",
    "方": "地对双各医院药配处校警官多西东南北后前",
    "金": "现资奖押基",
    "白": "明坦",
    "高": "最很更较提",
    "关": "相有机开海",
    "任": "主责现前历担信在",
    "管": "主不尽只",
    "文": "中英语论",
    "路": "一网马铁",
    "夏": "今去每初盛",
    "田": "心",
    "石": "结",
    "许": "也或允",
    "曾": "不未",
    "江": "浙黑长镇",
    "万": "百千十",
    "段": "阶一这时手",
    "严": "很太更",
    "易": "容不轻",
    "季": "四换一春夏秋冬雨旺",
    "章": "文规违",
    "程": "过工疗课流",
    "何": "如任为",
    "马": "立罗",
    "左": "向靠",
    "兰": "荷波",
    "顾": "照不",
    "钱": "花多少没有付交收",
    "史": "病历家族既往",
    "康": "健",
    "焦": "心",
    "温": "体高低",
}  # fmt: skip
_NOT_GIVEN = set("的了是级年门们科院位名个这那家牌主专副些里上下来去和与或及不也都就还在有给对说看找问叫让请经治疗诊病床住"
                 "实习护全普内外妇儿骨眼口耳值班急各某专男女于谢")  # fmt: skip
_BOUNDARY = r"(?=[\s,.!?;:，。！？；：、)）]|今年|是|来自|，|$|[0-9]|住|想|患)"
_INTRODUCED = re.compile(
    rf"(?:我叫|名字叫|名叫|我的名字是|名字是|(?:患者|病人)?姓名[ \t]{{0,2}}[:：是为]?)[ \t]{{0,2}}"
    rf"(?P<name>(?:{_DOUBLE}|[{_SURNAMES}于尹向时成常])[{HAN}]{{1,2}}?){_BOUNDARY}"
)


def _titled(view: View) -> Iterator[Span]:
    text = view.text
    for match in _TITLED.finditer(text):
        name, before = match["name"], text[match.start() - 1 : match.start()]
        if not before or before not in _BEFORE.get(name, ""):
            yield match.span("name")
    for match in _FULL.finditer(text):
        if (
            not _NOT_GIVEN & set(match["name"][1:])
            and match["name"][:2] not in read_words("chinese_words")
            and "小儿" not in match["name"]
        ):
            yield match.span("name")


def _introduced(view: View) -> Iterator[Span]:
    return (match.span("name") for match in _INTRODUCED.finditer(view.text))


CHINESE_NAME_RULES = (
    Rule(
        "chinese_name",
        has_any("医", "大夫", "主", "教授", "护士", "院长", "博士", "先生", "女士", "小姐", "药师"),
        _titled,
    ),
    Rule("introduced_name", has_any("叫", "名字", "姓名"), _introduced),
)
