package generate

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// A language is what people who speak it are called and say. In templates, ① is
// replaced by a noun, ② by a place, ③ by a time.
type language struct {
	tag       string
	share     float64 // of all people
	zone      int64   // hours from UTC
	space     string  // between sentences
	names     []string
	templates []string
	nouns     []string
	places    []string
	times     []string
	statuses  []string
	groups    []string
}

var languages = []*language{
	{
		tag: "en", share: 0.34, zone: -5, space: " ",
		names:     words("alice bob carol david emma frank grace henry isla jack kate liam mia noah olivia peter quinn ruby sam tess"),
		templates: list("Did you see the ①?|I left the ① at the ②.|See you ③ at the ②!|Can you bring the ① ③?|The ① is broken again.|ok|Sounds good|Thanks!|haha|I'm on my way to the ②|Let's talk about the ① ③.|Who has the ①?|No idea, ask somebody at the ②|③ works for me|The ① for the ② arrived|Sorry, I was away|Are you at the ②?|We need a new ① before ③.|Great ①!|How was the ②?"),
		nouns:     words("report ticket invoice bicycle keyboard dinner budget meeting password umbrella photo coffee server letter contract holiday garden recipe guitar train"),
		places:    list("office|station|library|harbour|airport|kitchen|market|cinema|school|park"),
		times:     list("tomorrow|tonight|on Monday|next week|at noon|at eight|on Friday|later"),
		statuses:  list("In a meeting|Working from home|Back soon|On the phone|Lunch"), groups: list("Friends|Work|Family"),
	},
	{
		tag: "zh", share: 0.22, zone: 8,
		names:     words("李伟 王芳 张敏 刘洋 陈静 杨磊 赵丽 黄强 周杰 吴娜 li.wei wang.fang chen.jie"),
		templates: list("你看到①了吗？|我把①忘在②了。|③在②见！|③可以带①来吗？|①又坏了。|好的|谢谢！|哈哈|我正在去②的路上|我们③讨论一下①。|谁拿了①？|不知道，问问②的人|③可以|②的①到了|不好意思，刚才不在|你在②吗？|③之前我们需要新的①。|①很好！|②怎么样？|收到"),
		nouns:     words("报告 车票 发票 自行车 键盘 晚饭 预算 会议 密码 雨伞 照片 咖啡 服务器 合同 假期 花园 菜谱 吉他 火车 项目"),
		places:    list("办公室|车站|图书馆|港口|机场|厨房|市场|电影院|学校|公园"),
		times:     list("明天|今晚|星期一|下周|中午|八点|星期五|晚一点"),
		statuses:  list("会议中|在家办公|马上回来|打电话|午饭"), groups: list("朋友|同事|家人"),
	},
	{
		tag: "de", share: 0.12, zone: 1, space: " ",
		names:     words("anna björn clara dirk elke fritz greta hans ines jürgen karin lukas maike nils"),
		templates: list("Hast du den ① gesehen?|Der ① liegt noch im ②.|Bis ③ im ②!|Bringst du ③ den ① mit?|Der ① ist schon wieder kaputt.|ok|Klingt gut|Danke!|haha|Bin unterwegs zum ②|Lass uns ③ über den ① reden.|Wer hat den ①?|Keine Ahnung, frag jemanden im ②|③ passt mir|Der ① fürs ② ist da|Entschuldige, war kurz weg|Bist du im ②?|Wir brauchen vor ③ einen neuen ①.|Schöner ①!|Wie war es im ②?"),
		nouns:     words("Bericht Fahrschein Schlüssel Drucker Vertrag Kuchen Termin Regenschirm Kaffee Server Brief Urlaub Garten Rechner Zug Fahrradhelm Löffel Überblick"),
		places:    list("Büro|Bahnhof|Hafen|Café|Museum|Kino|Park|Supermarkt|Labor|Schwimmbad"),
		times:     list("morgen|heute Abend|Montag|nächste Woche|mittags|um acht|Freitag|später"),
		statuses:  list("In einer Besprechung|Im Homeoffice|Gleich zurück|Am Telefon|Mittagspause"), groups: list("Freunde|Arbeit|Familie"),
	},
	{
		tag: "es", share: 0.11, zone: 1, space: " ",
		names:     words("ana bruno carmen diego elena félix gloria hugo irene josé lucía mateo núria óscar"),
		templates: list("¿Has visto el ①?|Dejé el ① en el ②.|¡Nos vemos ③ en el ②!|¿Puedes traer el ① ③?|El ① se ha roto otra vez.|vale|Suena bien|¡Gracias!|jaja|Voy camino del ②|Hablemos del ① ③.|¿Quién tiene el ①?|Ni idea, pregunta en el ②|③ me viene bien|Ya llegó el ① para el ②|Perdona, no estaba|¿Estás en el ②?|Necesitamos un ① nuevo antes de ③.|¡Qué buen ①!|¿Qué tal el ②?"),
		nouns:     words("informe billete contrato teclado paraguas café servidor correo jardín viaje regalo coche presupuesto libro reloj teléfono"),
		places:    list("despacho|puerto|mercado|cine|parque|aeropuerto|museo|colegio|bar|hospital"),
		times:     list("mañana|esta noche|el lunes|la semana que viene|al mediodía|a las ocho|el viernes|luego"),
		statuses:  list("En una reunión|Teletrabajo|Vuelvo enseguida|Al teléfono|Comiendo"), groups: list("Amigos|Trabajo|Familia"),
	},
	{
		tag: "fr", share: 0.08, zone: 1, space: " ",
		names:     words("amélie benoît chloé denis élodie françois gaëlle hélène inès julien léa margot noé"),
		templates: list("Tu as vu le ① ?|J'ai oublié le ① au ②.|On se voit ③ au ② !|Tu peux apporter le ① ③ ?|Le ① est encore en panne.|d'accord|Ça marche|Merci !|mdr|Je suis en route pour le ②|Parlons du ① ③.|Qui a le ① ?|Aucune idée, demande au ②|③, ça me va|Le ① pour le ② est arrivé|Désolé, j'étais absent|Tu es au ② ?|Il faut un nouveau ① avant ③.|Super, ce ① !|C'était comment, le ② ?"),
		nouns:     words("rapport billet contrat clavier parapluie café serveur courrier jardin gâteau budget vélo cadeau téléphone projet train"),
		places:    list("bureau|port|marché|cinéma|parc|musée|lycée|restaurant|théâtre|café"),
		times:     list("demain|ce soir|lundi|la semaine prochaine|à midi|à huit heures|vendredi|plus tard"),
		statuses:  list("En réunion|En télétravail|Je reviens|Au téléphone|À table"), groups: list("Amis|Travail|Famille"),
	},
	{
		tag: "ru", share: 0.07, zone: 3, space: " ",
		names:     words("анна борис вера глеб дарья иван катя лев мария никита ольга павел соня юрий"),
		templates: list("Ты видел ①?|Кажется, ① остался там, где ②.|Увидимся ③: ②!|Принеси ③ ①, пожалуйста.|Опять сломался ①.|ладно|Хорошо|Спасибо!|ахаха|Уже еду, скоро ②|Поговорим ③ про ①.|У кого ①?|Не знаю, спроси, где ②|③ подойдёт|Привезли ①|Извини, отходила|Ты где, ②?|Нужен новый ①, лучше ③.|Отличный ①!|Как ②?"),
		nouns:     words("отчёт билет договор зонт кофе сервер письмо отпуск сад пирог ключ подарок поезд проект телефон"),
		places:    list("офис|вокзал|порт|рынок|кинотеатр|парк|музей|школа|аэропорт|кафе"),
		times:     list("завтра|вечером|в понедельник|на следующей неделе|в полдень|в восемь|в пятницу|позже"),
		statuses:  list("На встрече|Работаю из дома|Скоро вернусь|Разговариваю|Обед"), groups: list("Друзья|Работа|Семья"),
	},
	{
		tag: "ja", share: 0.06, zone: 9,
		names:     words("佐藤 鈴木 高橋 田中 渡辺 伊藤 中村 yuki haruto sakura"),
		templates: list("①を見ましたか？|②に①を忘れました。|③、②で会いましょう！|③、①を持ってきてくれる？|また①が壊れました。|了解|いいですね|ありがとう！|笑|今②に向かっています|③、①について話しましょう。|①は誰が持っていますか？|わからない、②の人に聞いて|③なら大丈夫です|②の①が届きました|ごめん、席を外していました|今②にいますか？|③までに新しい①が必要です。|いい①ですね！|②はどうでしたか？"),
		nouns:     words("報告書 切符 請求書 自転車 夕食 予算 会議 傘 写真 コーヒー サーバー 手紙 契約 休暇 庭 ギター 電車"),
		places:    list("事務所|駅|図書館|港|空港|台所|市場|映画館|学校|公園"),
		times:     list("明日|今夜|月曜日|来週|正午|八時|金曜日|あとで"),
		statuses:  list("会議中|在宅勤務|すぐ戻ります|電話中|昼休み"), groups: list("友達|仕事|家族"),
	},
}

func words(s string) []string { return strings.Fields(s) }
func list(s string) []string  { return strings.Split(s, "|") }

func pickLanguage(r *rand.Rand) *language {
	at := r.Float64()
	for _, l := range languages {
		if at -= l.share; at < 0 {
			return l
		}
	}
	return languages[0]
}

// say gives a message of one to three sentences. Some words are said much more
// often than others.
func (l *language) say(r *rand.Rand) string {
	var b strings.Builder
	for n := 1 + int(r.ExpFloat64()*0.6); ; n-- {
		for _, c := range l.templates[rank(r, len(l.templates))] {
			switch c {
			case '①':
				b.WriteString(l.nouns[rank(r, len(l.nouns))])
			case '②':
				b.WriteString(l.places[rank(r, len(l.places))])
			case '③':
				b.WriteString(l.times[rank(r, len(l.times))])
			default:
				b.WriteRune(c)
			}
		}
		if n <= 1 || b.Len() > 400 {
			break
		}
		b.WriteString(l.space)
	}
	switch at := r.Float64(); {
	case at < 0.06:
		b.WriteString(" " + pick(r, smiles))
	case at < 0.08:
		b.WriteString(" https://example.org/n/" + strconv.Itoa(r.IntN(100_000)))
	case at < 0.10:
		b.WriteString(" #" + strconv.Itoa(1000+r.IntN(9000)))
	}
	return b.String()
}

var smiles = list("😀|👍|❤️|😂|🎉|🤔|:)|<3")
